// Pretraining an integer recurrent language model on bytes. A member's fitness is the sum of its scores
// over its segment, in 1/16 bit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "kernels/device.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"
#include "worker/lm/corpus.hpp"
#include "worker/lm/lm_settings.hpp"
#include "worker/task.hpp"

namespace eggroll {

// The model of a run, on a device.
std::unique_ptr<IntRnn> make_lm_model(const RunConfig& config, Device& device,
                                      const Learner& learner);

// Throws ConfigError where the text cannot be read or is too short for the run.
std::vector<std::string> check_lm_data(const RunConfig& config);

class LmTask final : public Task {
 public:
  // Throws ConfigError when data and configuration do not fit.
  LmTask(const RunConfig& config, Device& device, const Learner& learner);

  std::string data_digest() const override { return data_digest_; }
  std::vector<std::string> data_remarks() const override { return corpus_.remarks(); }
  double sigma(uint64_t) const override;
  void evaluate(const GenerationPlan& plan, PairSource& source) override;
  Tally validate(int rank, int ranks) override;
  std::vector<Metric> train_metrics(const Tally& tally, const FitnessSummary&) const override;
  std::vector<Metric> validation_metrics(const Tally& tally) const override;
  std::optional<Work> work(const Tally&) const override;
  CarriedStates* carried() override { return model_.get(); }
  std::vector<std::string> reference_lines() const override;

 private:
  const LmSettings settings_;
  const uint64_t population_;
  const uint32_t group_size_;
  Corpus corpus_;
  std::string data_digest_;      // made once: the text may be long, and every checkpoint has it
  uint64_t slice_bytes_;         // of the training text, each sequence's own
  uint64_t validation_streams_;  // fewer than asked for when little text is held out
  std::unique_ptr<IntRnn> model_;
};

// Scores of text as counts that add up over ranks, and as figures: exact, from the integer logits, and
// by the integer scores, which are about 0.03 bits too low, as log2 is floored.
Tally tally_of(const StreamScores& scores);
std::vector<Metric> bits_per_byte(const Tally& tally);

}  // namespace eggroll
