// Task: turns a member's number into a fitness. Higher is better. A task owns its data and the
// Backend that computes on it; it sees the pairs of its own rank, or tiles that are handed to it,
// and sends no messages.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/partition.hpp"
#include "kernels/backend.hpp"

namespace eggroll {

// What a process computes on.
struct ComputeDevice {
  std::string name = "cpu";  // or "cuda"
  int index = 0;             // of the devices that this process sees
};

class Task {
 public:
  virtual ~Task() = default;

  virtual Backend& backend() = 0;
  virtual std::string data_digest()
      const = 0;  // of all it reads, 16 hex digits: the same on all ranks and after a resume

  // Fitness of the members of the assigned pairs, two a pair. give_up is asked now and then, on any
  // thread: once it says yes, the fitness is not needed any more.
  virtual void evaluate(const GenerationPlan& plan, std::span<int32_t> fitness,
                        const std::function<bool()>& give_up) = 0;
  // The same for tiles that come one by one, in whatever thread this is called.
  virtual void evaluate_tiles(const GenerationPlan& plan, TileSource& tiles,
                              const std::function<bool()>& give_up) = 0;
  // Where in its data every member stands after this generation, from where it stood before.
  virtual uint64_t advance(uint64_t data_position) const = 0;

  // This rank's share of scoring the unperturbed model on held-out data; shares add up over ranks.
  // No tokens: nothing is held out.
  virtual StreamScores validate(int rank, int ranks) = 0;

  // What a person reads the final loss beside, one line a figure; slow, asked for once by one rank.
  virtual std::vector<std::string> reference_lines() const = 0;
};

// The task a configuration names, on a device that has been chosen (config.device may leave that
// open), ready to be assigned pairs. Throws ConfigError when data and configuration do not fit.
std::unique_ptr<Task> make_task(const RunConfig& config, int threads,
                                const ComputeDevice& device = {});

}  // namespace eggroll
