// Runs of tiny models without files of their own: generations one by one on any group of ranks, so that
// many ranks can be compared with one in the same process.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "coordinator/generation.hpp"
#include "coordinator/records/run_state.hpp"
#include "coordinator/records/snapshots.hpp"
#include "coordinator/start.hpp"
#include "kernels/device.hpp"
#include "tests/support/generated_text.hpp"
#include "tests/support/scratch_folder.hpp"
#include "worker/tasks.hpp"

namespace eggroll::test {

// Options as a person writes them, name and value.
using ConfigValues = std::map<std::string, std::string>;

inline RunConfig config_of(const ConfigValues& values) {
  std::string text;
  for (const auto& [name, value] : values) text += name + " = " + value + "\n";
  return parse_config_text(text, "the test", option_catalogue());
}

// Of the language model. 40 pairs are three tiles, the last one half full: of four ranks one has
// nothing to do.
inline ConfigValues small_values(const std::string& data) {
  return {{"data", data},
          {"layers", "1"},
          {"width", "64"},
          {"population", "80"},
          {"tokens-per-update", "7"},
          {"generations", "20"},
          {"seed", "11"}};
}

class SmallRun {
 public:
  // wrap: what the group runs in place of the task.
  using Wrap = std::function<std::unique_ptr<Task>(std::unique_ptr<Task>)>;

  SmallRun(const RunConfig& config, Collectives& group, int threads = 1, const Wrap& wrap = {},
           StepMode step = StepMode::replicated)
      : config_(config),
        text_(write_config(config, option_catalogue())),
        group_(group),
        step_(step),
        device_(make_device("cpu", {.threads = threads})) {
    learner_ = device_->make_learner(learner_settings(config));
    task_ = task_type(config.task).make(config, *device_, *learner_);
    if (wrap) task_ = wrap(std::move(task_));
    share_out();
    write_state(*learner_, start_state(learner_->layout(), config.update,
                                       start_parameters(config, learner_->layout())));
  }

  // The pairs of this rank in its group.
  void share_out() {
    if (CarriedStates* carried = task_->carried())
      carried->assign(pairs_of_rank(config_.pairs(), group_.rank(), group_.size()));
  }

  GenerationPlan plan() const {
    return {.generation = generation_,
            .sigma = task_->sigma(generation_),
            .noise_epoch = config_.noise_epoch(generation_)};
  }
  GenerationRecord step(bool stop_requested = false) {
    const GenerationRecord record =
        run_generation(plan(), config_, {group_, nullptr, step_}, *task_, *learner_,
                       device_->works_in_bulk(), stop_requested);
    ++generation_;
    return record;
  }
  void steps(int generations) {
    for (int g = 0; g < generations; ++g) step();
  }

  // With a writer of its own; rank 0 waits for the disk and throws where it fails.
  void write() {
    std::optional<SnapshotWriter> writer;
    if (group_.rank() == 0)
      writer.emplace(
          SnapshotWriterSettings{.run = config_.run, .keep_checkpoints = config_.keep_checkpoints});
    start_write(writer ? &*writer : nullptr);
    if (!writer) return;
    writer->wait();
    const std::string error = writer->take_outcomes().at(0).error;
    if (!error.empty()) throw Error(error);
  }
  void start_write(SnapshotWriter* writer) {
    start_snapshot(config_, text_, group_, *task_, *learner_, generation_, writer);
  }
  void load(const CheckpointReader* reader) {
    generation_ = load_snapshot(reader, config_, group_, *task_, *learner_);
  }
  // After the learner has been given what it held then.
  void go_back_to(uint64_t generation) { generation_ = generation; }
  void gather() {
    if (step_ == StepMode::sharded)
      gather_slots(*learner_, slots_of(config_.update).size(), group_);
  }

  std::string digest() {
    gather();
    return current_digest(*learner_, config_.update);
  }
  Task& task() { return *task_; }
  Learner& learner() { return *learner_; }
  Device& device() { return *device_; }
  const RunConfig& config() const { return config_; }
  uint64_t generation() const { return generation_; }

 private:
  RunConfig config_;
  std::string text_;
  Collectives& group_;
  StepMode step_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<Task> task_;
  uint64_t generation_ = 0;
};

}  // namespace eggroll::test
