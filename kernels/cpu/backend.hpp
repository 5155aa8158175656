// CpuBackend: the CPU twin. Threads go over blocks of pairs (evaluation) and over tensors (update),
// never inside the arithmetic of one; every sum is an integer sum, so no schedule can change a
// result.
//   backend.cpp   memory, parameters, states        int_rnn.cpp   the forward pass update.cpp   Z
//   and the step
#pragma once

#include <atomic>
#include <utility>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/buffer.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/cpu/thread_team.hpp"

namespace eggroll::cpu {

// Everything one thread needs to run one block; sized once.
struct BlockWorkspace {
  BlockWorkspace(const BackendSettings& settings, size_t rows, size_t noise_elements,
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

// Nonzero utility differences, as indices into the assigned pairs.
struct ActivePair {
  uint32_t pair;
  int8_t d;
};

// A part of Z that one thread makes: some rows of one tensor.
struct UpdateUnit {
  uint32_t tensor;
  uint32_t first_row;
  uint32_t rows;
  uint32_t bucket;
};

struct UpdateWorkspace {
  Buffer<int8_t> left, right;  // interleaved d A (as u8) and B of a stretch of pairs
  Buffer<int8_t> noise;        // of some terms
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const BackendSettings& settings);

  std::string description() const override;
  bool works_in_bulk() const override { return false; }
  const ParameterLayout& layout() const override { return layout_; }

  void write_parameters(std::span<const int8_t> values) override;
  void read_parameters(std::span<int8_t> values) override;
  void write_accumulators(std::span<const int32_t> values) override;
  void read_accumulators(std::span<int32_t> values) override;

  void assign_pairs(PairRange pairs) override;
  uint64_t state_slots() const override;
  void write_states(uint64_t first_slot, std::span<const int8_t> values) override;
  void read_states(uint64_t first_slot, std::span<int8_t> values) override;

  void evaluate(const Evaluation& evaluation, std::span<int32_t> score) override;
  void evaluate_tiles(const Evaluation& evaluation, TileSource& tiles) override;

  const std::vector<UpdateBucket>& buckets() const override { return buckets_; }
  void reconstruct(uint32_t noise_epoch, std::span<const int8_t> d, bool wide,
                   const ReconstructionProgress& progress) override;
  std::span<int32_t> partial_update(size_t bucket) override;
  std::span<int64_t> wide_partial_update(size_t bucket) override;
  std::optional<DeviceSums> device_partial_update(size_t, bool) override { return std::nullopt; }
  int64_t largest_magnitude(size_t bucket) override;
  void narrow(size_t bucket) override;
  void step_shard(size_t bucket, Shard shard, const StepRule& rule, bool wide) override;
  std::span<int8_t> give_parameters(size_t bucket, Shard shard) override;
  void take_parameters(size_t) override { packed_is_current_ = false; }
  std::optional<DeviceParameters> device_parameters(size_t) override { return std::nullopt; }
  void reconstruct_and_step(uint32_t noise_epoch, std::span<const int8_t> d,
                            const StepRule& rule) override;
  uint64_t take_changed() override { return std::exchange(changed_, 0); }

  StreamScores score_streams(std::span<const uint8_t> text, uint64_t streams, uint64_t first,
                             uint64_t count) override;
  void next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) override;

 private:
  struct VectorRows {
    const int8_t* first;
    size_t stride;
    const int8_t* operator[](size_t row) const { return first + row * stride; }
  };

  // int_rnn.cpp
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
  bool evaluate_block(BlockWorkspace& w, const Evaluation& evaluation, PairRange pairs,
                      int32_t* score);
  void load_states(BlockWorkspace& w, PairRange pairs) const;
  void save_states(const BlockWorkspace& w, PairRange pairs, uint64_t generation);
  StreamScores score_stream_block(BlockWorkspace& w, std::span<const uint8_t> text, uint64_t length,
                                  uint64_t first, int rows) const;

  // update.cpp
  void plan_update();
  void make_unit(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                 std::span<const ActivePair> active);
  void make_matrix_rows(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                        std::span<const ActivePair> active, int32_t* z) const;
  void make_vector(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                   std::span<const ActivePair> active, int32_t* z) const;
  UpdateBucket part_of(const UpdateUnit& unit) const;
  uint64_t step_part(UpdateBucket part, int64_t threshold, bool wide);
  int64_t threshold_of(size_t bucket, const StepRule& rule) const;

  uint64_t slot_bytes() const { return uint64_t{settings_.shape.layers} * settings_.shape.width; }
  Perturbation matrix_perturbation() const;
  Perturbation vector_perturbation() const;

  const BackendSettings settings_;
  const ParameterLayout layout_;
  const Isa& isa_;
  const size_t block_rows_ = 2 * isa_.block_pairs;
  ThreadTeam team_;

  Buffer<int8_t> parameters_;
  Buffer<int32_t> accumulators_;  // sigma_delta only
  PairRange pairs_;
  Buffer<int8_t> states_;

  // Matrices in panels, remade when the parameters have moved.
  bool packed_is_current_ = false;
  Buffer<int8_t> panels_;
  Buffer<int32_t> compensations_;
  std::vector<PackedMatrix> packed_;
  std::vector<size_t> noise_offset_,
      noise_sum_offset_;  // of each tensor in a BlockWorkspace, elements
  std::vector<size_t> order_of_use_;
  std::vector<BlockWorkspace> block_workspaces_;

  std::vector<UpdateBucket> buckets_;
  std::vector<bool> bucket_is_vectors_;
  std::vector<UpdateUnit> units_;
  Buffer<int32_t> z_;
  Buffer<int64_t> wide_z_;  // made when first needed
  std::vector<UpdateWorkspace> update_workspaces_;
  uint64_t changed_ = 0;  // by steps since take_changed
};

}  // namespace eggroll::cpu
