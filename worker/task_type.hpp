// TaskType: what a task says of itself, checked and laid out without data or device; made once both are
// there. A row of the table in worker/tasks.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/config.hpp"
#include "common/layout.hpp"
#include "common/options.hpp"
#include "kernels/device.hpp"
#include "kernels/learner.hpp"
#include "worker/task.hpp"

namespace eggroll {

// What a verb works on: a checkpoint that the coordinator has opened, on a device of one process.
struct Trained {
  RunConfig config;
  uint64_t generation = 0;  // completed
  std::string data_digest;  // of what it was trained on (Task::data_digest); empty: not said
  Device& device;
  Learner& learner;  // with the parameters of the checkpoint
};

// What can be done with a trained model beside inspecting it: `eggroll NAME --checkpoint PATH ...`.
struct Verb {
  const char* name;
  const char* help;    // one line
  bool takes_threads;  // else it computes on one
  // Declares its options, bound to settings that live in the returned job, which is then run and gives
  // the exit code.
  std::function<std::function<int(Trained&)>(Options& to)> prepare;
};

// What a task needs of a rank's memory beside the parameters, in bytes.
struct TaskMemory {
  double weights = 0;     // parameters in an order of the task's own
  double states = 0;      // that members carry
  double workspaces = 0;  // of all threads
  double data = 0;
};

struct TaskType {
  const char* name;
  const char* help;  // one line
  // Of the general options, `update` among them, and of those of that optimiser: what is best for this
  // task, name and text.
  std::vector<std::pair<std::string, std::string>> defaults;
  // The task's own rows, bound to settings that live as long as the returned pointer.
  std::shared_ptr<void> (*declare)(Options& to);
  // Whatever can be wrong without data: throws ConfigError, best an OptionError.
  void (*check)(const RunConfig& config);
  ParameterLayout (*layout)(const RunConfig& config);
  void (*start_values)(const RunConfig& config, const ParameterLayout& layout,
                       std::span<std::byte> arena);
  // Reads the data, if there are any: throws ConfigError when they and the configuration do not fit.
  // What a person is told of them, a line each (Task::data_remarks).
  std::vector<std::string> (*check_data)(const RunConfig& config);
  // Ready to evaluate; throws ConfigError when data and configuration do not fit. The learner outlives
  // it.
  std::unique_ptr<Task> (*make)(const RunConfig& config, Device& device, const Learner& learner);
  Carry (*carry)(const RunConfig& config);  // what members carry: reset is nothing
  bool runs_on_cuda;
  // Of a rank with so many pairs, for --dry-run.
  TaskMemory (*memory)(const RunConfig& config, uint64_t pairs, int threads);
  std::vector<Verb> verbs;
};

}  // namespace eggroll
