// CpuIntRnn: the CPU twin of the IntRnn. One thread runs one block of pairs, or of streams, from
// start to end with its own workspace.
//   int_rnn.cpp  states, evaluation, text    int_rnn_forward.cpp  one step of a block
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernels/buffer.hpp"
#include "kernels/cpu/device.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"

namespace eggroll::cpu {

// Everything one thread needs to run one block; sized once.
struct BlockWorkspace {
  BlockWorkspace(const IntRnnSettings& settings, size_t rows, size_t noise_elements,
                 size_t noise_sum_count);

  // activations, [rows, ...]
  Buffer<int8_t> x, state, forget, product_a, product_b, logits;
  Buffer<uint8_t> normed, state_u8, gated, hidden;
  Buffer<int32_t> projection;
  // noise of the block, tensor-major: see BlockNoise; of vectors what their members make of it,
  // [rows, width]
  Buffer<int8_t> noise;
  Buffer<int32_t> noise_sums;
  std::vector<NoiseRow> noise_rows;  // [tensors in the order of their use, pairs]
  NoiseRows noise_left;              // of these
  size_t tensors_ready = 0;          // so many in that order can be used
};

class CpuIntRnn final : public IntRnn {
 public:
  CpuIntRnn(CpuDevice& device, const IntRnnSettings& settings, const Learner& learner);

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
  struct VectorRows {
    const int8_t* first;
    size_t stride;
    const int8_t* operator[](size_t row) const { return first + row * stride; }
  };

  // int_rnn_forward.cpp
  void pack_weights();
  void begin_noise(BlockWorkspace& w, uint32_t epoch, PairRange pairs) const;
  void finish_noise(BlockWorkspace& w, size_t tensor) const;
  void need_noise(BlockWorkspace& w, size_t tensor) const {
    if (w.tensors_ready < order_of_use_.size()) finish_noise(w, tensor);
  }
  void reset_rows_at_boundaries(BlockWorkspace& w, int rows, const uint8_t* tokens) const;
  void forward(BlockWorkspace& w, int rows, const uint8_t* tokens, bool perturbed) const;
  void embed(BlockWorkspace& w, int rows, const uint8_t* tokens, bool perturbed) const;
  void linear(BlockWorkspace& w, size_t tensor, int rows, const uint8_t* x, int8_t* y, uint8_t flip,
              bool perturbed) const;
  BlockNoise block_noise(const BlockWorkspace& w, size_t tensor) const;
  VectorRows vector_rows(BlockWorkspace& w, size_t tensor, bool perturbed) const;
  PerturbationScale matrix_perturbation() const;
  PerturbationScale vector_perturbation() const;

  // int_rnn.cpp
  bool evaluate_block(BlockWorkspace& w, const Evaluation& evaluation, const PairSource& source,
                      PairRange pairs, int32_t* score);
  void load_states(BlockWorkspace& w, PairRange pairs) const;
  void save_states(const BlockWorkspace& w, PairRange pairs, uint64_t generation);
  StreamScores score_stream_block(BlockWorkspace& w, std::span<const uint8_t> text, uint64_t length,
                                  uint64_t first, int rows) const;

  size_t state_bytes() const { return size_t{settings_.shape.layers} * settings_.shape.width; }

  const IntRnnSettings settings_;
  const Learner& learner_;
  const ParameterLayout& layout_;
  const Isa& isa_;
  const size_t block_rows_;
  ThreadTeam& team_;

  const int8_t* parameters_ = nullptr;  // the learner's
  PairRange pairs_;
  Buffer<int8_t> states_;

  // Matrices in panels, remade when the parameters have moved.
  std::optional<uint64_t> packed_version_;
  Buffer<int8_t> panels_;
  Buffer<int32_t> compensations_;
  std::vector<PackedMatrix> packed_;
  std::vector<size_t> noise_offset_, noise_sum_offset_;  // of each tensor in a workspace, elements
  const std::vector<size_t> order_of_use_;
  std::vector<BlockWorkspace> workspaces_;
};

}  // namespace eggroll::cpu
