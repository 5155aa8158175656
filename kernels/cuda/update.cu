// Z = sum_j d_j A_j B_j^T on the device, the twin of cpu/update.cpp: operands (diag(d) A)^T and B^T
// of a stretch of terms (a term is a pair and one of its r products) are made from their addresses,
// a product on the tensor cores adds them up, and integers make the order of all that irrelevant.
// Then the step.
#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "common/check.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/update.cuh"
#include "kernels/update_plan.hpp"

namespace eggroll::cuda {
namespace {

constexpr uint32_t kStretch = 16384;  // terms: operands of the largest tensors stay in the L2 cache

LaunchShape one_thread_each(size_t size) {
  return {dim3(static_cast<unsigned>((size + 255) / 256))};
}

}  // namespace

void CudaBackend::plan_update() {
  const UpdatePlan plan = eggroll::plan_update(layout_);
  buckets_ = plan.buckets;
  bucket_is_vectors_ = plan.bucket_is_vectors;
  bucket_ready_.resize(buckets_.size());
  where_.assign(buckets_.size(), Where::device);
  parameters_where_.assign(buckets_.size(), Where::device);
  size_t longest = 0;
  for (const TensorSpec& tensor : layout_.tensors())
    if (tensor.kind != TensorKind::vector)
      longest = std::max<size_t>(longest, std::max(tensor.rows, tensor.cols));
  left_ = DeviceBuffer<int8_t>(longest * kStretch);
  right_ = DeviceBuffer<int8_t>(longest * kStretch);
}

// Terms of the active pairs [first, first + count).
void CudaBackend::sum_matrix(uint32_t tensor, uint32_t epoch, size_t first, size_t count) {
  const TensorSpec& spec = layout_[tensor];
  const uint32_t rank = static_cast<uint32_t>(settings_.noise_rank);
  const size_t pairs_at_a_time = kStretch / rank;
  for (size_t done = 0; done < count; done += pairs_at_a_time) {
    const uint32_t terms = static_cast<uint32_t>(std::min(pairs_at_a_time, count - done)) * rank;
    const uint32_t row_bytes = (terms + 63) / 64 * 64;
    const Operands operands = {.tables = noise_tables(),
                               .at = {settings_.seed, epoch, tensor, 0},
                               .pair = active_pair_.data() + first + done,
                               .d = active_d_.data() + first + done,
                               .terms = terms,
                               .row_bytes = row_bytes,
                               .noise_rank = rank,
                               .in = spec.cols,
                               .out = spec.rows,
                               .left = left_.data(),
                               .right = right_.data()};
    launch(
        make_operands,
        {dim3((row_bytes / 4 + 255) / 256, (spec.rows + spec.cols) / 8), 256, sizeof(NoiseTables)},
        stream_, operands);
    launch(add_product,
           {dim3((spec.cols + kTile - 1) / kTile, (spec.rows + kTile - 1) / kTile,
                 (row_bytes + kSplit - 1) / kSplit)},
           stream_, left_.data(), right_.data(), spec.rows, spec.cols, row_bytes,
           z_.data() + spec.offset);
  }
}

void CudaBackend::sum_bucket(size_t bucket, uint32_t epoch, size_t first, size_t count) {
  const auto [offset, size] = buckets_[bucket];
  for (uint32_t t = 0; t < layout_.tensors().size(); ++t) {
    const TensorSpec& tensor = layout_[t];
    if (tensor.offset < offset || tensor.offset >= offset + size || count == 0) continue;
    if (tensor.kind != TensorKind::vector) {
      sum_matrix(t, epoch, first, count);
      continue;
    }
    const VectorSums sums = {.tables = noise_tables(),
                             .at = {settings_.seed, epoch, t, 0},
                             .pair = active_pair_.data() + first,
                             .d = active_d_.data() + first,
                             .pairs = static_cast<uint32_t>(count),
                             .length = tensor.rows,
                             .z = z_.data() + tensor.offset};
    LaunchShape shape =
        one_thread_each((count + kPairsOfThread - 1) / kPairsOfThread * (tensor.rows / 8));
    shape.shared_bytes = sizeof(NoiseTables);
    launch(add_vectors, shape, stream_, sums);
  }
}

void CudaBackend::reconstruct(uint32_t noise_epoch, std::span<const int8_t> d, bool wide,
                              const ReconstructionProgress& progress) {
  require(d.size() == pairs_.count, "one difference for each assigned pair");
  use_device();
  std::vector<uint32_t> active_pair;
  std::vector<int8_t> active_d;
  for (size_t j = 0; j < d.size(); ++j) {
    if (d[j] == 0) continue;
    active_pair.push_back(static_cast<uint32_t>(pairs_.first + j));
    active_d.push_back(d[j]);
  }
  const size_t active = active_pair.size();
  if (active_pair_.size() < active) {
    active_pair_ = DeviceBuffer<uint32_t>(active);
    active_d_ = DeviceBuffer<int8_t>(active);
  }
  copy_to_device(active_pair_.data(), active_pair, stream_);
  copy_to_device(active_d_.data(), active_d, stream_);
  fill_with_zeros(z_.data(), z_.size(), stream_);
  if (wide) {
    if (wide_z_.size() == 0) wide_z_ = DeviceBuffer<int64_t>(layout_.size());
    fill_with_zeros(wide_z_.data(), wide_z_.size(), stream_);
  }
  std::ranges::fill(where_, Where::device);

  // The device comes to the buckets in order. It takes only so many launches ahead, and then asking
  // for more waits for it, so what it has done is told in between.
  size_t ready = 0;
  const auto report = [&](size_t asked_for) {
    progress.poll();
    while (ready < asked_for && bucket_ready_[ready].has_passed()) progress.bucket_ready(ready++);
  };
  const size_t stretch = wide ? kPairsWithin32Bits / static_cast<size_t>(settings_.noise_rank)
                              : std::max<size_t>(active, 1);
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    const auto [offset, size] = buckets_[bucket];
    for (size_t first = 0; first < active; first += stretch) {
      sum_bucket(bucket, noise_epoch, first, std::min(stretch, active - first));
      if (wide)
        launch(move_to_wide, one_thread_each(size), stream_, z_.data() + offset,
               wide_z_.data() + offset, size);
    }
    bucket_ready_[bucket].record(stream_);
    report(bucket + 1);
  }
  while (ready < buckets_.size()) {
    std::this_thread::sleep_for(std::chrono::microseconds(5));
    report(buckets_.size());
  }
}

// A bucket's sums in the host's memory, which step reads from then on.
template <typename Sum>
std::span<Sum> CudaBackend::give_to_host(size_t bucket, const DeviceBuffer<Sum>& from,
                                         PinnedBuffer<Sum>& to) {
  use_device();
  const auto [offset, size] = buckets_[bucket];
  if (to.size() == 0) to = PinnedBuffer<Sum>(layout_.size());
  const std::span<Sum> part = to.span().subspan(offset, size);
  copy_to_host(part, from.data() + offset, copies_);
  copies_.synchronize();
  where_[bucket] = Where::host;
  return part;
}

std::span<int32_t> CudaBackend::partial_update(size_t bucket) {
  return give_to_host(bucket, z_, host_z_);
}

std::span<int64_t> CudaBackend::wide_partial_update(size_t bucket) {
  return give_to_host(bucket, wide_z_, host_wide_z_);
}

std::optional<DeviceSums> CudaBackend::device_partial_update(size_t bucket, bool wide) {
  const auto [offset, size] = buckets_[bucket];
  where_[bucket] = Where::device;
  if (wide) return DeviceSums{wide_z_.data() + offset, size, true};
  return DeviceSums{z_.data() + offset, size, false};
}

int64_t CudaBackend::largest_magnitude(size_t bucket) {
  use_device();
  const auto [offset, size] = buckets_[bucket];
  fill_with_zeros(largest_.data(), 1, stream_);
  launch(find_largest, {dim3(multiprocessors_)}, stream_, wide_z_.data() + offset, size,
         largest_.data());
  unsigned long long largest = 0;
  copy_to_host(std::span(&largest, 1), largest_.data(), stream_);
  stream_.synchronize();
  return static_cast<int64_t>(largest);
}

void CudaBackend::narrow(size_t bucket) {
  use_device();
  const auto [offset, size] = buckets_[bucket];
  launch(narrow_sums, one_thread_each(size), stream_, wide_z_.data() + offset, z_.data() + offset,
         size);
  stream_.synchronize();
}

void CudaBackend::step_shard(size_t bucket, Shard shard, const StepRule& rule, bool wide) {
  require(shard.first + shard.count <= buckets_[bucket].size, "a part of the bucket");
  if (shard.count == 0) return;
  use_device();
  const size_t offset = buckets_[bucket].offset + shard.first, size = shard.count;
  const int64_t threshold = std::max<int64_t>(
      1, bucket_is_vectors_[bucket] ? rule.vector_threshold : rule.matrix_threshold);
  if (where_[bucket] == Where::host) {
    if (wide)
      copy_to_device(wide_z_.data() + offset, host_wide_z_.span().subspan(offset, size), stream_);
    else
      copy_to_device(z_.data() + offset, host_z_.span().subspan(offset, size), stream_);
  }
  int32_t* accumulators =
      settings_.update == UpdateRule::sigma_delta ? accumulators_.data() + offset : nullptr;
  if (wide)
    launch(step_parameters<int64_t>, one_thread_each(size), stream_, wide_z_.data() + offset, size,
           threshold, accumulators, parameters_.data() + offset, changed_.data());
  else
    launch(step_parameters<int32_t>, one_thread_each(size), stream_, z_.data() + offset, size,
           threshold, accumulators, parameters_.data() + offset, changed_.data());
}

std::span<int8_t> CudaBackend::give_parameters(size_t bucket, Shard shard) {
  use_device();
  const auto [offset, size] = buckets_[bucket];
  if (host_parameters_.size() == 0) host_parameters_ = PinnedBuffer<int8_t>(layout_.size());
  const std::span<int8_t> whole = host_parameters_.span().subspan(offset, size);
  copy_to_host(whole.subspan(shard.first, shard.count), parameters_.data() + offset + shard.first,
               stream_);
  stream_.synchronize();
  parameters_where_[bucket] = Where::host;
  return whole;
}

std::optional<DeviceParameters> CudaBackend::device_parameters(size_t bucket) {
  use_device();
  stream_.synchronize();
  parameters_where_[bucket] = Where::device;
  return DeviceParameters{parameters_.data() + buckets_[bucket].offset, buckets_[bucket].size};
}

void CudaBackend::take_parameters(size_t bucket) {
  if (parameters_where_[bucket] == Where::device) return;
  use_device();
  const auto [offset, size] = buckets_[bucket];
  copy_to_device(parameters_.data() + offset, host_parameters_.span().subspan(offset, size),
                 stream_);
}

uint64_t CudaBackend::take_changed() {
  use_device();
  unsigned long long changed = 0;
  copy_to_host(std::span(&changed, 1), changed_.data(), stream_);
  fill_with_zeros(changed_.data(), 1, stream_);
  stream_.synchronize();
  return changed;
}

}  // namespace eggroll::cuda
