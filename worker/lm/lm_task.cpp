#include "worker/lm/lm_task.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/check.hpp"
#include "worker/lm/text_statistics.hpp"

namespace eggroll {

std::unique_ptr<Backend> make_lm_backend(const RunConfig& config, int threads,
                                         const ComputeDevice& device) {
  return make_backend(device.name, {.shape = config.shape(),
                                    .seed = config.seed,
                                    .noise_rank = config.noise_rank,
                                    .sigma_shift = config.sigma_shift,
                                    .rounding = config.perturbation_rounding,
                                    .carry = config.carry,
                                    .update = config.update,
                                    .threads = threads,
                                    .device_index = device.index});
}

LmTask::LmTask(const RunConfig& config, int threads, const ComputeDevice& device)
    : config_(config),
      corpus_(config.data, config.held_out),
      data_digest_(fmt::format("{:016x}", corpus_.digest())),
      slice_bytes_(corpus_.train().size() / config.sequences()) {
  if (slice_bytes_ < config.tokens_per_update)
    throw ConfigError(
        fmt::format("population = {}, group-size = {}, tokens-per-update = {}: {} sequences need "
                    "at least {} bytes of training text, "
                    "{} has {} (held-out = {})",
                    config.population, config.group_size, config.tokens_per_update,
                    config.sequences(), config.sequences() * config.tokens_per_update, config.data,
                    corpus_.train().size(), config.held_out));
  constexpr uint64_t kShortestStream = 64;  // bytes; below that a stream is mostly its cold start
  validation_streams_ =
      std::min(config.validate_streams, corpus_.held_out().size() / kShortestStream);
  backend_ = make_lm_backend(config, threads, device);
}

Evaluation LmTask::evaluation(const GenerationPlan& plan,
                              const std::function<bool()>& give_up) const {
  return {.generation = plan.generation,
          .noise_epoch = plan.noise_epoch,
          .segments = {.text = corpus_.train(),
                       .slice_bytes = slice_bytes_,
                       .position = plan.data_position,
                       .group_size = config_.group_size,
                       .tokens = config_.tokens_per_update},
          .give_up = give_up};
}

void LmTask::evaluate(const GenerationPlan& plan, std::span<int32_t> fitness,
                      const std::function<bool()>& give_up) {
  backend_->evaluate(evaluation(plan, give_up), fitness);
}

void LmTask::evaluate_tiles(const GenerationPlan& plan, TileSource& tiles,
                            const std::function<bool()>& give_up) {
  backend_->evaluate_tiles(evaluation(plan, give_up), tiles);
}

uint64_t LmTask::advance(uint64_t data_position) const {
  return (data_position + config_.tokens_per_update) % slice_bytes_;
}

StreamScores LmTask::validate(int rank, int ranks) {
  const uint64_t first = validation_streams_ * rank / ranks;
  const uint64_t end = validation_streams_ * (rank + 1) / ranks;
  if (first == end) return {};
  return backend_->score_streams(corpus_.held_out(), validation_streams_, first, end - first);
}

std::vector<std::string> LmTask::reference_lines() const {
  const auto text = corpus_.held_out();
  if (text.empty()) return {};
  return {fmt::format("held-out unigram entropy {:.3f} bits/byte (counts of the training text)",
                      unigram_cross_entropy(text, corpus_.train())),
          fmt::format("held-out bigram entropy  {:.3f} bits/byte (counts of the training text)",
                      bigram_cross_entropy(text, corpus_.train())),
          fmt::format("gzip -9                  {:.3f} bits/byte (the held-out text alone)",
                      gzip_bits_per_byte(text))};
}

}  // namespace eggroll
