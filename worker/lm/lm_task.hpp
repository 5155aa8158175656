// Pretraining an integer recurrent language model on bytes. A member's fitness is the sum of its
// scores over its segment, in 1/16 bit.
#pragma once

#include "worker/lm/corpus.hpp"
#include "worker/task.hpp"

namespace eggroll {

std::unique_ptr<Backend> make_lm_backend(const RunConfig& config, int threads,
                                         const ComputeDevice& device);

class LmTask final : public Task {
 public:
  LmTask(const RunConfig& config, int threads, const ComputeDevice& device);

  Backend& backend() override { return *backend_; }
  std::string data_digest() const override { return data_digest_; }
  void evaluate(const GenerationPlan& plan, std::span<int32_t> fitness,
                const std::function<bool()>& give_up) override;
  void evaluate_tiles(const GenerationPlan& plan, TileSource& tiles,
                      const std::function<bool()>& give_up) override;
  uint64_t advance(uint64_t data_position) const override;
  StreamScores validate(int rank, int ranks) override;
  std::vector<std::string> reference_lines() const override;

 private:
  Evaluation evaluation(const GenerationPlan& plan, const std::function<bool()>& give_up) const;

  RunConfig config_;
  Corpus corpus_;
  std::string data_digest_;      // made once: the text may be long, and every checkpoint has it
  uint64_t slice_bytes_;         // of the training text, each sequence's own
  uint64_t validation_streams_;  // fewer than asked for when little text is held out
  std::unique_ptr<Backend> backend_;
};

}  // namespace eggroll
