// CudaBackend: the CUDA twin. One launch runs all tokens of all assigned members: a block of
// threads takes some rows (members, or streams of text) from the first token to the last, as a
// thread of the CPU twin takes a tile. Parameters, states, accumulators and sums live on the
// device; scores and counts cross. Every sum is an integer sum, so no order changes a result.
//   backend.cu   memory, parameters, states
//   int_rnn.cu   the forward pass; its device code: block_of_rows.cuh, int_rnn.cuh
//   update.cu    Z and the step
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/int_rnn_call.hpp"

namespace eggroll::cuda {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendSettings& settings);

  std::string description() const override;
  bool works_in_bulk() const override { return true; }
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
  std::optional<DeviceSums> device_partial_update(size_t bucket, bool wide) override;
  int64_t largest_magnitude(size_t bucket) override;
  void narrow(size_t bucket) override;
  void step_shard(size_t bucket, Shard shard, const StepRule& rule, bool wide) override;
  std::span<int8_t> give_parameters(size_t bucket, Shard shard) override;
  void take_parameters(size_t bucket) override;
  std::optional<DeviceParameters> device_parameters(size_t bucket) override;
  uint64_t take_changed() override;

  StreamScores score_streams(std::span<const uint8_t> text, uint64_t streams, uint64_t first,
                             uint64_t count) override;
  void next_logits(uint8_t token, std::span<int8_t> state, std::span<int8_t> logits) override;

 private:
  // Rows of one launch, on the host: what each pair (or stream) is and reads.
  struct Batch {
    std::vector<uint32_t> pair;      // number in the population
    std::vector<uint32_t> text_row;  // in `text`
    std::vector<uint8_t> text;       // [text rows, tokens + 1]
  };
  // How the rows are divided among blocks of threads.
  struct Geometry {
    uint32_t rows = 0;      // of a block
    bool in_shared = true;  // its activations
    unsigned blocks = 0;    // that run at a time
    size_t shared_bytes = 0;
  };

  void use_device() const { CUDA_CHECK(cudaSetDevice(settings_.device_index)); }
  uint64_t slot_bytes() const { return uint64_t{settings_.shape.layers} * settings_.shape.width; }

  // int_rnn.cu
  Geometry geometry(uint64_t rows, bool perturbed) const;
  RowsCall rows_call(const Geometry& geometry, bool perturbed);
  void add_to_batch(Batch& batch, const Segments& segments, PairRange pairs) const;
  // Scores of the batch's members; false where it was given up on the way.
  bool run_batch(const Evaluation& evaluation, const Batch& batch, std::span<int32_t> score);
  void run_rows(const Geometry& geometry, bool perturbed, const RowsCall& call);
  void wait(const std::function<bool()>& give_up);

  // backend.cu: whole copies, done when they return
  template <typename T>
  void write_all(DeviceBuffer<T>& to, std::span<const T> values, const char* what);
  template <typename T>
  void read_all(std::span<T> values, const DeviceBuffer<T>& from, const char* what);

  // update.cu
  void plan_update();
  void sum_bucket(size_t bucket, uint32_t epoch, size_t first, size_t count);
  void sum_matrix(uint32_t tensor, uint32_t epoch, size_t first, size_t count);
  template <typename Sum>
  std::span<Sum> give_to_host(size_t bucket, const DeviceBuffer<Sum>& from, PinnedBuffer<Sum>& to);

  const BackendSettings settings_;
  const ParameterLayout layout_;
  std::string name_;
  unsigned multiprocessors_ = 0;
  size_t shared_limit_ = 0;  // bytes of shared memory a block may have
  Stream stream_, copies_;

  DeviceBuffer<int8_t> parameters_;
  DeviceBuffer<int32_t> accumulators_;  // sigma_delta only
  PairRange pairs_;
  DeviceBuffer<int8_t> states_;

  // Of the blocks that run at a time; grown when needed, kept.
  DeviceBuffer<int8_t> block_noise_, block_states_, block_activations_;
  DeviceBuffer<uint8_t> text_;
  DeviceBuffer<uint32_t> pair_, text_row_;
  DeviceBuffer<int32_t> score_;
  DeviceBuffer<double> exp2_;  // exact_exp2
  PinnedBuffer<int32_t> give_up_;

  std::vector<UpdateBucket> buckets_;
  std::vector<bool> bucket_is_vectors_;
  std::vector<Event> bucket_ready_;
  enum class Where { device, host };
  std::vector<Where> where_;             // a bucket's sums were last given out
  std::vector<Where> parameters_where_;  // and its parameters
  DeviceBuffer<uint32_t> active_pair_;
  DeviceBuffer<int8_t> active_d_;
  DeviceBuffer<int8_t> left_, right_;  // operands of the product over pairs: see update.cu
  DeviceBuffer<int32_t> z_;
  DeviceBuffer<int64_t> wide_z_;  // made when first needed, as are those of the host
  PinnedBuffer<int32_t> host_z_;
  PinnedBuffer<int64_t> host_wide_z_;
  PinnedBuffer<int8_t> host_parameters_;
  DeviceBuffer<unsigned long long> largest_, changed_;  // one each; since take_changed
};

}  // namespace eggroll::cuda
