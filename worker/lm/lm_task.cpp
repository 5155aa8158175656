#include "worker/lm/lm_task.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "common/check.hpp"
#include "worker/lm/text_statistics.hpp"

namespace eggroll {
namespace {

constexpr uint64_t kShortestStream = 64;  // bytes; below that a stream is mostly its cold start

// Of the tallies: what counts mean. Of a generation the first one is all there is.
enum Count : size_t { kScoreSum, kLoss2e24, kTokens };

// Of the training text, each sequence's own. Throws ConfigError where it is too short.
uint64_t slice_bytes_of(const RunConfig& config, const LmSettings& settings, const Corpus& corpus) {
  const uint64_t sequences = config.population / config.group_size;
  const uint64_t slice_bytes = corpus.train().size() / sequences;
  if (slice_bytes < settings.tokens_per_update)
    throw ConfigError(
        fmt::format("population = {}, group-size = {}, tokens-per-update = {}: {} sequences need "
                    "at least {} bytes of training text, "
                    "{} has {} (held-out = {})",
                    config.population, config.group_size, settings.tokens_per_update, sequences,
                    sequences * settings.tokens_per_update, settings.data, corpus.train().size(),
                    settings.held_out));
  return slice_bytes;
}

// Bits for each of so many tokens, from scores in 1/16 bit.
double bits_of_scores(int64_t score_sum, double tokens) {
  return static_cast<double>(-score_sum) / 16.0 / tokens;
}

}  // namespace

std::unique_ptr<IntRnn> make_lm_model(const RunConfig& config, Device& device,
                                      const Learner& learner) {
  return device.make_int_rnn(int_rnn_settings(config), learner);
}

std::vector<std::string> check_lm_data(const RunConfig& config) {
  const LmSettings settings = lm_settings(config);
  const Corpus corpus(settings.data, settings.held_out);
  slice_bytes_of(config, settings, corpus);
  return corpus.remarks();
}

LmTask::LmTask(const RunConfig& config, Device& device, const Learner& learner)
    : settings_(lm_settings(config)),
      population_(config.population),
      group_size_(config.group_size),
      corpus_(settings_.data, settings_.held_out),
      data_digest_(fmt::format("{:016x}", corpus_.digest())),
      slice_bytes_(slice_bytes_of(config, settings_, corpus_)) {
  validation_streams_ =
      std::min(settings_.validate_streams, corpus_.held_out().size() / kShortestStream);
  model_ = make_lm_model(config, device, learner);
}

double LmTask::sigma(uint64_t) const { return std::exp2(-settings_.sigma_shift); }

void LmTask::evaluate(const GenerationPlan& plan, PairSource& source) {
  // Every generation reads on where the one before it stopped, from the start of the text.
  const uint64_t position =
      plan.generation % slice_bytes_ * settings_.tokens_per_update % slice_bytes_;
  model_->evaluate({.generation = plan.generation,
                    .noise_epoch = plan.noise_epoch,
                    .segments = {.text = corpus_.train(),
                                 .slice_bytes = slice_bytes_,
                                 .position = position,
                                 .group_size = group_size_,
                                 .tokens = settings_.tokens_per_update}},
                   source);
}

Tally LmTask::validate(int rank, int ranks) {
  const uint64_t first = validation_streams_ * rank / ranks;
  const uint64_t end = validation_streams_ * (rank + 1) / ranks;
  if (first == end) return {};
  return tally_of(
      model_->score_streams(corpus_.held_out(), validation_streams_, first, end - first));
}

std::vector<Metric> LmTask::train_metrics(const Tally& tally, const FitnessSummary&) const {
  return {{.name = "train_integer_bits_per_byte",
           .value = bits_of_scores(tally[kScoreSum], work(tally)->amount),
           .unit = "bits/byte",
           .label = "train"}};
}

std::vector<Metric> LmTask::validation_metrics(const Tally& tally) const {
  return bits_per_byte(tally);
}

std::optional<Work> LmTask::work(const Tally&) const {
  return Work{"tokens", static_cast<double>(population_) * settings_.tokens_per_update};
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

Tally tally_of(const StreamScores& scores) {
  return {{scores.score_sum, scores.loss_2e24, static_cast<int64_t>(scores.tokens), 0}};
}

std::vector<Metric> bits_per_byte(const Tally& tally) {
  if (tally[kTokens] == 0) return {};
  const auto tokens = static_cast<double>(tally[kTokens]);
  return {{.name = "validation_bits_per_byte",
           .value = static_cast<double>(tally[kLoss2e24]) / 16777216.0 / tokens,
           .unit = "bits/byte",
           .label = "validation",
           .note = "exact"},
          {.name = "validation_integer_bits_per_byte",
           .value = bits_of_scores(tally[kScoreSum], tokens),
           .unit = "bits/byte",
           .note = "by the integer score"}};
}

}  // namespace eggroll
