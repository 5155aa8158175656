// CudaLearner: the CUDA twin. Parameters, slots and sums live on the device; sums and parameters cross
// only where ranks exchange them in host memory. Every sum is an integer sum, so no order changes a
// result. Its device code: learner.cuh.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/learner.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll::cuda {

class CudaLearner final : public Learner {
 public:
  CudaLearner(const CudaDevice& device, const LearnerSettings& settings);

  const ParameterLayout& layout() const override { return settings_.layout; }
  View view() const override { return {parameters_.data(), version_}; }
  size_t arena_bytes(size_t arena) const override;
  void write(size_t arena, std::span<const std::byte> values) override;
  void read(size_t arena, std::span<std::byte> values) override;
  void add_to(size_t tensor, std::span<const int64_t> values) override;

  const std::vector<UpdateBucket>& buckets() const override { return buckets_; }
  void reconstruct(const Utilities& utilities, bool wide,
                   const ReconstructionProgress& progress) override;
  std::span<int32_t> partial_update(size_t bucket) override;
  std::span<int64_t> wide_partial_update(size_t bucket) override;
  std::optional<DeviceSums> device_partial_update(size_t bucket, bool wide) override;
  int64_t largest_magnitude(size_t bucket) override;
  void narrow(size_t bucket) override;
  void step_shard(size_t bucket, Shard shard, const StepNumbers& numbers, bool wide) override;
  std::span<std::byte> give_parameters(size_t bucket, Shard shard) override;
  void take_parameters(size_t bucket) override;
  std::optional<DeviceParameters> device_parameters(size_t bucket) override;
  uint64_t take_changed() override;

 private:
  // Pairs that follow each other in active_.
  struct ActiveRange {
    size_t first;
    size_t count;
  };

  DeviceBuffer<std::byte>& arena_of(size_t arena);
  void upload(const ActivePairs& active);
  void sum_bucket(const UpdateBucket& bucket, uint32_t epoch, bool wide);
  // Terms [first, first + count) of some pairs, into z_; a term is a pair, or one of the products that
  // noise of low rank has for it.
  void sum_terms(const UpdateBucket& bucket, uint32_t epoch, ActiveRange pairs, size_t first,
                 size_t count);
  void sum_products(uint32_t tensor, uint32_t epoch, ActiveRange pairs, size_t first, size_t count);
  template <typename Sum>
  std::span<Sum> give_to_host(size_t bucket, const DeviceBuffer<Sum>& from, PinnedBuffer<Sum>& to);
  template <typename Sum>
  void step_by(const UpdateBucket& bucket, Shard shard, const StepNumbers& numbers, const Sum* z);

  const CudaDevice& device_;
  const LearnerSettings settings_;

  DeviceBuffer<std::byte> parameters_;
  std::vector<DeviceBuffer<std::byte>> slots_;
  uint64_t version_ = 0;

  std::vector<UpdateBucket> buckets_;
  std::vector<Event> bucket_ready_;
  enum class Where { device, host };
  std::vector<Where> where_;             // a bucket's sums were last given out
  std::vector<Where> parameters_where_;  // and its parameters
  DeviceBuffer<ActivePair> active_;
  ActiveRange all_ = {};               // in it: d as it is,
  std::vector<ActiveRange> planes_;    // and its digits, lowest first
  size_t within_32_bits_ = 0;          // so many of all_ can be summed in
  DeviceBuffer<int8_t> left_, right_;  // operands of the product over pairs: see learner.cu
  DeviceBuffer<int32_t> z_;
  DeviceBuffer<int64_t> wide_z_;  // made when first needed, as are those of the host
  PinnedBuffer<int32_t> host_z_;
  PinnedBuffer<int64_t> host_wide_z_;
  PinnedBuffer<std::byte> host_parameters_;
  DeviceBuffer<unsigned long long> largest_, changed_;  // one each; since take_changed
};

}  // namespace eggroll::cuda
