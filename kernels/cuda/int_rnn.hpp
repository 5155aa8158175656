// CudaIntRnn: the CUDA twin. One launch runs all tokens of many members: a block of threads takes some
// rows (members, or streams of text) from the first token to the last, as a thread of the CPU twin
// does. States live on the device; text and scores cross. Its device code: block_of_rows.cuh and
// int_rnn.cuh.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/int_rnn_call.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"

namespace eggroll::cuda {

class CudaIntRnn final : public IntRnn {
 public:
  CudaIntRnn(const CudaDevice& device, const IntRnnSettings& settings, const Learner& learner);

  void assign(PairRange pairs) override;
  uint64_t slots_per_pair() const override { return state_slots_per_pair(settings_.carry); }
  std::vector<uint64_t> slot_shape() const override {
    return {settings_.shape.layers, settings_.shape.width};
  }
  void write(uint64_t first_slot, std::span<const std::byte> values) override;
  void read(uint64_t first_slot, std::span<std::byte> values) override;

  void evaluate(const Evaluation& evaluation, PairSource& source) override;
  StreamScores score_streams(std::span<const uint8_t> text, uint64_t streams, uint64_t first,
                             uint64_t count) override;
  void next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) override;

 private:
  // How the rows are divided among blocks of threads.
  struct Geometry {
    uint32_t rows = 0;      // of a block
    bool in_shared = true;  // its activations
    unsigned blocks = 0;    // that run at a time
    size_t shared_bytes = 0;
  };

  Geometry geometry(uint64_t rows, bool perturbed) const;
  RowsCall rows_call(const Geometry& geometry, bool perturbed);
  void run_rows(const Geometry& geometry, bool perturbed, const RowsCall& call) const;
  // Scores of the members of these pairs; none where the source was over on the way.
  std::vector<int32_t> run_pairs(const Evaluation& evaluation, PairRange pairs,
                                 const PairSource& source);
  void wait(const std::function<bool()>& is_over);

  const CudaDevice& device_;
  const IntRnnSettings settings_;
  const Learner& learner_;

  PairRange pairs_;  // whose states are here
  DeviceBuffer<int8_t> states_;

  // Of the blocks that run at a time; grown when needed, kept.
  DeviceBuffer<int8_t> block_noise_, block_states_, block_activations_;
  DeviceBuffer<uint8_t> text_;
  DeviceBuffer<uint32_t> text_row_;
  DeviceBuffer<int32_t> score_;
  DeviceBuffer<double> exp2_;  // exact_exp2
  PinnedBuffer<int32_t> give_up_;
};

}  // namespace eggroll::cuda
