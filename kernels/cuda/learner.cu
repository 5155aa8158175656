// Z = sum_j d_j E_j on the device. Noise of low rank, digit plane by digit plane: operands
// (diag(digit) A)^T and B^T of a stretch of terms (a term is a pair and one of its r products) are made
// from their addresses, a product on the tensor cores adds them up, and integers make the order of all
// that irrelevant. Other noise takes d as it is. Then the step.
#include <algorithm>
#include <chrono>
#include <thread>

#include "common/check.hpp"
#include "kernels/cuda/learner.cuh"
#include "kernels/cuda/learner.hpp"
#include "kernels/optimizers.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll::cuda {
namespace {

constexpr uint32_t kStretch = 16384;  // terms: operands of the largest tensors stay in the L2 cache
constexpr size_t kMostGroups = 65535;  // in the second dimension of a launch

size_t parts_of(size_t size, size_t part) { return (size + part - 1) / part; }

LaunchShape one_thread_each(size_t size) {
  return {dim3(static_cast<unsigned>(parts_of(size, 256)))};
}

constexpr const char* kAnArena = "the parameters, or a slot of the optimiser";

}  // namespace

CudaLearner::CudaLearner(const CudaDevice& device, const LearnerSettings& settings)
    : device_(device),
      settings_((check(settings), settings)),
      buckets_(plan_update(settings.layout)) {
  device_.use();
  const ParameterLayout& layout = settings_.layout;
  parameters_ = DeviceBuffer<std::byte>(layout.bytes());
  for (const Slot& slot : optimizer_type(settings_.optimizer).slots)
    slots_.emplace_back(layout.trained() * bytes_of(slot.element));
  z_ = DeviceBuffer<int32_t>(layout.trained());
  largest_ = DeviceBuffer<unsigned long long>(1);
  changed_ = DeviceBuffer<unsigned long long>(1);
  bucket_ready_.resize(buckets_.size());
  where_.assign(buckets_.size(), Where::device);
  parameters_where_.assign(buckets_.size(), Where::device);
  size_t longest = 0;
  for (const TensorSpec& tensor : layout.tensors())
    if (tensor.noise == Noise::low_rank)
      longest = std::max<size_t>(longest, std::max(tensor.rows, tensor.cols));
  // The product reads whole tiles; what it makes of the rows behind a tensor's last is left out.
  const size_t operand = parts_of(longest, kTile) * kTile * kStretch;
  left_ = DeviceBuffer<int8_t>(operand);
  right_ = DeviceBuffer<int8_t>(operand);
}

// ---- arenas ----

DeviceBuffer<std::byte>& CudaLearner::arena_of(size_t arena) {
  require(arena <= slots_.size(), kAnArena);
  return arena == 0 ? parameters_ : slots_[arena - 1];
}

size_t CudaLearner::arena_bytes(size_t arena) const {
  require(arena <= slots_.size(), kAnArena);
  return arena == 0 ? parameters_.size() : slots_[arena - 1].size();
}

void CudaLearner::write(size_t arena, std::span<const std::byte> values) {
  DeviceBuffer<std::byte>& to = arena_of(arena);
  require(values.size() == to.size(), "the values of a whole arena");
  device_.use();
  copy_to_device(to.data(), values, device_.stream());
  device_.stream().synchronize();
  if (arena == 0) ++version_;
}

void CudaLearner::read(size_t arena, std::span<std::byte> values) {
  const DeviceBuffer<std::byte>& from = arena_of(arena);
  require(values.size() == from.size(), "room for a whole arena");
  device_.use();
  copy_to_host(values, from.data(), device_.stream());
  device_.stream().synchronize();
}

void CudaLearner::add_to(size_t tensor, std::span<const int64_t> values) {
  check_addition(layout(), tensor, values);
  device_.use();
  std::byte* at = parameters_.data() + layout()[tensor].at;
  std::vector<int64_t> sums(values.size());
  const auto bytes = std::as_writable_bytes(std::span(sums));
  copy_to_host(bytes, at, device_.stream());
  device_.stream().synchronize();
  for (size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
  copy_to_device(at, std::as_bytes(std::span(sums)), device_.stream());
  device_.stream().synchronize();
  ++version_;
}

// ---- sums ----

void CudaLearner::sum_products(uint32_t tensor, uint32_t epoch, ActiveRange pairs, size_t first,
                               size_t count) {
  const TensorSpec& spec = settings_.layout[tensor];
  const auto rank = static_cast<uint32_t>(settings_.noise_rank);
  for (size_t done = 0; done < count; done += kStretch) {
    const auto terms = static_cast<uint32_t>(std::min<size_t>(kStretch, count - done));
    const uint32_t row_bytes = (terms + 63) / 64 * 64;
    const Operands operands = {.tables = noise_tables(),
                               .at = {settings_.seed, epoch, tensor, 0},
                               .pairs = active_.data() + pairs.first + (first + done) / rank,
                               .first_product = static_cast<uint32_t>((first + done) % rank),
                               .terms = terms,
                               .row_bytes = row_bytes,
                               .noise_rank = rank,
                               .in = spec.cols,
                               .in_run = static_cast<uint32_t>(noise_run(spec.cols)),
                               .out = spec.rows,
                               .out_run = static_cast<uint32_t>(noise_run(spec.rows)),
                               .left = left_.data(),
                               .right = right_.data()};
    const size_t groups = parts_of(spec.rows, 8) + parts_of(spec.cols, 8);
    launch(make_operands,
           {dim3((row_bytes / 4 + 255) / 256, static_cast<unsigned>(std::min(groups, kMostGroups))),
            256, sizeof(NoiseTables)},
           device_.stream(), operands);
    launch(add_product,
           {dim3((spec.cols + kTile - 1) / kTile, (spec.rows + kTile - 1) / kTile,
                 (row_bytes + kSplit - 1) / kSplit)},
           device_.stream(), left_.data(), right_.data(), spec.rows, spec.cols, row_bytes,
           z_.data() + spec.offset);
  }
}

void CudaLearner::sum_terms(const UpdateBucket& bucket, uint32_t epoch, ActiveRange pairs,
                            size_t first, size_t count) {
  for (uint32_t t = 0; t < settings_.layout.tensors().size(); ++t) {
    const TensorSpec& tensor = settings_.layout[t];
    if (!bucket.has(tensor)) continue;
    if (tensor.noise == Noise::low_rank) {
      sum_products(t, epoch, pairs, first, count);
      continue;
    }
    const ElementSums sums = {.tables = noise_tables(),
                              .at = {settings_.seed, epoch, t, 0},
                              .pairs = active_.data() + pairs.first + first,
                              .count = static_cast<uint32_t>(count),
                              .elements = static_cast<uint32_t>(tensor.size()),
                              .second_factor = static_cast<uint32_t>(noise_run(tensor.size()) / 8),
                              .z = z_.data() + tensor.offset};
    LaunchShape shape =
        one_thread_each(parts_of(count, kPairsOfThread) * parts_of(tensor.size(), 8));
    shape.shared_bytes = sizeof(NoiseTables);
    launch(
        tensor.noise == Noise::product ? add_elements<Noise::product> : add_elements<Noise::full>,
        shape, device_.stream(), sums);
  }
}

// In 64 bits, no more terms than fit 32 are added up at a time.
void CudaLearner::sum_bucket(const UpdateBucket& bucket, uint32_t epoch, bool wide) {
  int32_t* z = z_.data() + bucket.offset;
  int64_t* wide_z = wide_z_.data() + bucket.offset;
  const LaunchShape each = one_thread_each(bucket.size);
  const auto add = [&](ActiveRange pairs, size_t terms_of_pair, size_t within_32_bits) {
    const size_t terms = pairs.count * terms_of_pair;
    const size_t at_a_time = wide ? within_32_bits : std::max<size_t>(terms, 1);
    for (size_t first = 0; first < terms; first += at_a_time) {
      sum_terms(bucket, epoch, pairs, first, std::min(at_a_time, terms - first));
      if (wide) launch(move_to_wide, each, device_.stream(), z, wide_z, bucket.size);
    }
  };
  if (bucket.noise != Noise::low_rank) return add(all_, 1, within_32_bits_);
  // From the highest plane down: Z = Z_0 + 5 (Z_1 + 5 (Z_2 + ...)).
  for (size_t k = planes_.size(); k-- > 0;) {
    if (k + 1 < planes_.size()) {
      if (wide)
        launch(raise_plane<int64_t>, each, device_.stream(), wide_z, bucket.size);
      else
        launch(raise_plane<int32_t>, each, device_.stream(), z, bucket.size);
    }
    add(planes_[k], static_cast<size_t>(settings_.noise_rank), kPairsWithin32Bits);
  }
}

void CudaLearner::upload(const ActivePairs& active) {
  size_t size = active.all.size();
  for (const std::vector<ActivePair>& digits : active.digits) size += digits.size();
  if (active_.size() < size) active_ = DeviceBuffer<ActivePair>(size);
  size_t end = 0;
  const auto put = [&](std::span<const ActivePair> pairs) {
    copy_to_device(active_.data() + end, pairs, device_.stream());
    const ActiveRange range = {end, pairs.size()};
    end += pairs.size();
    return range;
  };
  all_ = put(active.all);
  planes_.clear();
  for (const std::vector<ActivePair>& digits : active.digits) planes_.push_back(put(digits));
  if (active.planes.size() == 1) planes_.push_back(all_);
  within_32_bits_ = pairs_within_32_bits(active.largest);
  device_.stream().synchronize();
}

void CudaLearner::reconstruct(const Utilities& utilities, bool wide,
                              const ReconstructionProgress& progress) {
  device_.use();
  upload(ActivePairs(utilities));
  fill_with_zeros(z_.data(), z_.size(), device_.stream());
  if (wide) {
    if (wide_z_.size() == 0) wide_z_ = DeviceBuffer<int64_t>(settings_.layout.trained());
    fill_with_zeros(wide_z_.data(), wide_z_.size(), device_.stream());
  }
  std::ranges::fill(where_, Where::device);

  // The device comes to the buckets in order. It takes only so many launches ahead, and then asking
  // for more waits for it, so what it has done is told in between.
  size_t ready = 0;
  const auto report = [&](size_t asked_for) {
    progress.poll();
    while (ready < asked_for && bucket_ready_[ready].has_passed()) progress.bucket_ready(ready++);
  };
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    sum_bucket(buckets_[bucket], utilities.noise_epoch, wide);
    bucket_ready_[bucket].record(device_.stream());
    report(bucket + 1);
  }
  while (ready < buckets_.size()) {
    std::this_thread::sleep_for(std::chrono::microseconds(5));
    report(buckets_.size());
  }
}

// A bucket's sums in the host's memory, which the step reads from then on.
template <typename Sum>
std::span<Sum> CudaLearner::give_to_host(size_t bucket, const DeviceBuffer<Sum>& from,
                                         PinnedBuffer<Sum>& to) {
  device_.use();
  if (to.size() == 0) to = PinnedBuffer<Sum>(settings_.layout.trained());
  const std::span<Sum> part = to.span().subspan(buckets_[bucket].offset, buckets_[bucket].size);
  copy_to_host(part, from.data() + buckets_[bucket].offset, device_.copies());
  device_.copies().synchronize();
  where_[bucket] = Where::host;
  return part;
}

std::span<int32_t> CudaLearner::partial_update(size_t bucket) {
  return give_to_host(bucket, z_, host_z_);
}

std::span<int64_t> CudaLearner::wide_partial_update(size_t bucket) {
  return give_to_host(bucket, wide_z_, host_wide_z_);
}

std::optional<DeviceSums> CudaLearner::device_partial_update(size_t bucket, bool wide) {
  const auto [offset, size] = std::pair(buckets_[bucket].offset, buckets_[bucket].size);
  where_[bucket] = Where::device;
  if (wide) return DeviceSums{wide_z_.data() + offset, size, true};
  return DeviceSums{z_.data() + offset, size, false};
}

int64_t CudaLearner::largest_magnitude(size_t bucket) {
  device_.use();
  fill_with_zeros(largest_.data(), 1, device_.stream());
  launch(find_largest, {dim3(device_.multiprocessors())}, device_.stream(),
         wide_z_.data() + buckets_[bucket].offset, buckets_[bucket].size, largest_.data());
  unsigned long long largest = 0;
  copy_to_host(std::span(&largest, 1), largest_.data(), device_.stream());
  device_.stream().synchronize();
  return static_cast<int64_t>(largest);
}

void CudaLearner::narrow(size_t bucket) {
  device_.use();
  const size_t offset = buckets_[bucket].offset, size = buckets_[bucket].size;
  launch(narrow_sums, one_thread_each(size), device_.stream(), wide_z_.data() + offset,
         z_.data() + offset, size);
  device_.stream().synchronize();
}

// ---- the step ----

template <typename Sum>
void CudaLearner::step_by(const UpdateBucket& bucket, Shard shard, const StepNumbers& numbers,
                          const Sum* z) {
  const size_t first = bucket.offset + shard.first;
  with_optimizer(settings_.optimizer, [&]<typename Optimizer>() {
    using Weight = ElementType<Optimizer::kMoves>;
    auto* weights = reinterpret_cast<Weight*>(parameters_.data() + bucket.at) + shard.first;
    const auto step = [&](auto*... slots) {
      launch(step_weights<Optimizer, Sum, Weight, std::remove_pointer_t<decltype(slots)>...>,
             one_thread_each(shard.count), device_.stream(), z + first, shard.count,
             numbers.get<typename Optimizer::Numbers>(bucket.noise), changed_.data(), weights,
             slots...);
    };
    [&]<size_t... I>(std::index_sequence<I...>) {
      step(reinterpret_cast<ElementType<Optimizer::kSlots[I].element>*>(slots_[I].data()) +
           first...);
    }
    (std::make_index_sequence<Optimizer::kSlots.size()>());
  });
}

void CudaLearner::step_shard(size_t bucket, Shard shard, const StepNumbers& numbers, bool wide) {
  require(shard.first + shard.count <= buckets_[bucket].size, "a part of the bucket");
  if (shard.count == 0) return;
  device_.use();
  const size_t first = buckets_[bucket].offset + shard.first;
  if (where_[bucket] == Where::host) {
    if (wide)
      copy_to_device(wide_z_.data() + first, host_wide_z_.span().subspan(first, shard.count),
                     device_.stream());
    else
      copy_to_device(z_.data() + first, host_z_.span().subspan(first, shard.count),
                     device_.stream());
  }
  if (wide)
    step_by(buckets_[bucket], shard, numbers, wide_z_.data());
  else
    step_by(buckets_[bucket], shard, numbers, z_.data());
  ++version_;
}

std::span<std::byte> CudaLearner::give_parameters(size_t bucket, Shard shard) {
  device_.use();
  const UpdateBucket& b = buckets_[bucket];
  const size_t each = bytes_of(b.element);
  if (host_parameters_.size() == 0)
    host_parameters_ = PinnedBuffer<std::byte>(settings_.layout.bytes());
  const std::span<std::byte> whole = host_parameters_.span().subspan(b.at, b.size * each);
  copy_to_host(whole.subspan(shard.first * each, shard.count * each),
               parameters_.data() + b.at + shard.first * each, device_.stream());
  device_.stream().synchronize();
  parameters_where_[bucket] = Where::host;
  return whole;
}

std::optional<DeviceParameters> CudaLearner::device_parameters(size_t bucket) {
  device_.use();
  device_.stream().synchronize();
  const UpdateBucket& b = buckets_[bucket];
  parameters_where_[bucket] = Where::device;
  return DeviceParameters{parameters_.data() + b.at, b.size, b.element};
}

void CudaLearner::take_parameters(size_t bucket) {
  ++version_;
  if (parameters_where_[bucket] == Where::device) return;
  device_.use();
  const UpdateBucket& b = buckets_[bucket];
  copy_to_device(parameters_.data() + b.at,
                 host_parameters_.span().subspan(b.at, b.size * bytes_of(b.element)),
                 device_.stream());
}

uint64_t CudaLearner::take_changed() {
  device_.use();
  unsigned long long changed = 0;
  copy_to_host(std::span(&changed, 1), changed_.data(), device_.stream());
  fill_with_zeros(changed_.data(), 1, device_.stream());
  device_.stream().synchronize();
  return changed;
}

}  // namespace eggroll::cuda
