// A run of a tiny language model without files of its own: generations one by one on any group of
// ranks, so that many ranks can be compared with one in the same process.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "coordinator/generation.hpp"
#include "coordinator/records/snapshots.hpp"
#include "tests/support/generated_text.hpp"
#include "tests/support/scratch_folder.hpp"
#include "worker/task.hpp"

namespace eggroll::test {

// 40 pairs are three tiles, the last one half full: of four ranks one has nothing to do.
inline RunConfig small_config(const std::string& data) {
  RunConfig config;
  config.data = data;
  config.layers = 1;
  config.width = 64;
  config.population = 80;
  config.tokens_per_update = 7;
  config.generations = 20;
  config.seed = 11;
  return config;
}

class SmallRun {
 public:
  SmallRun(const RunConfig& config, Collectives& group, int threads = 1)
      : SmallRun(config, group, make_task(config, threads)) {}
  SmallRun(const RunConfig& config, Collectives& group, std::unique_ptr<Task> task)
      : config_(config), group_(group), task_(std::move(task)) {
    task_->backend().assign_pairs(pairs_of_rank(config.pairs(), group.rank(), group.size()));
    task_->backend().write_parameters(int_rnn_initial_parameters(config.shape(), config.seed));
  }

  GenerationRecord step(bool stop_requested = false) {
    const uint64_t g = position_.generation;
    const uint64_t epoch = config_.noise_reuse == 0 ? 0 : g / config_.noise_reuse;
    const GenerationRecord record = run_generation({.generation = g,
                                                    .data_position = position_.data_position,
                                                    .noise_epoch = static_cast<uint32_t>(epoch)},
                                                   config_, {group_}, *task_, stop_requested);
    position_ = {g + 1, task_->advance(position_.data_position)};
    return record;
  }
  void steps(int generations) {
    for (int g = 0; g < generations; ++g) step();
  }

  void write() { write_snapshot(config_, group_, *task_, position_); }
  void load(const CheckpointReader* reader) {
    position_ = load_snapshot(reader, config_, group_, *task_);
  }

  std::string digest() { return current_digest(task_->backend(), config_.update); }
  Task& task() { return *task_; }
  const RunPosition& position() const { return position_; }

 private:
  RunConfig config_;
  Collectives& group_;
  std::unique_ptr<Task> task_;
  RunPosition position_;
};

}  // namespace eggroll::test
