// Z = sum_j d_j A_j B_j^T as one product over pairs: (diag(d) A)^T B (arXiv 2511.16652, equation of
// the update), with the noise made again and the pairs without a difference left out. Then the
// step.
#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "common/check.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/fixed_point.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll::cpu {
namespace {

// Terms of one product: as many as keep its operands in the second-level cache, and enough that
// adding to Z costs little.
constexpr size_t kOperandBytes = 640 << 10;
constexpr size_t kFewestTerms = 512;
constexpr size_t kUnitRows = 1024;    // rows of a tensor that one thread makes at a time
constexpr size_t kFoursTogether = 4;  // of terms whose noise is made in one call

// Equal parts, in fours, of all terms, of `columns` bytes each.
size_t stretch_of(size_t terms, size_t columns) {
  const size_t most = std::max(kOperandBytes / columns, kFewestTerms) / 4;
  const size_t fours = (terms + 3) / 4;
  const size_t parts = (fours + most - 1) / most;
  return 4 * ((fours + parts - 1) / parts);
}

constexpr const char* kOneDifferenceEach = "one difference for each assigned pair";

std::vector<ActivePair> active_pairs(std::span<const int8_t> d) {
  std::vector<ActivePair> active;
  for (size_t j = 0; j < d.size(); ++j)
    if (d[j] != 0) active.push_back({static_cast<uint32_t>(j), d[j]});
  return active;
}

}  // namespace

void CpuBackend::plan_update() {
  const UpdatePlan plan = eggroll::plan_update(layout_);
  buckets_ = plan.buckets;
  bucket_is_vectors_ = plan.bucket_is_vectors;
  size_t largest_in = 0, largest_out = 0, largest_left = 0, largest_right = 0;
  for (uint32_t b = 0; b < buckets_.size(); ++b) {
    const auto [offset, size] = buckets_[b];
    for (uint32_t t = 0; t < layout_.tensors().size(); ++t) {
      const TensorSpec& tensor = layout_[t];
      if (tensor.offset < offset || tensor.offset >= offset + size) continue;
      const bool is_vector = tensor.kind == TensorKind::vector;
      const uint32_t rows = is_vector ? tensor.rows : std::min<uint32_t>(tensor.rows, kUnitRows);
      for (uint32_t row = 0; row < tensor.rows; row += rows)
        units_.push_back({t, row, std::min(rows, tensor.rows - row), b});
      if (is_vector) continue;
      largest_in = std::max<size_t>(largest_in, tensor.cols);
      largest_out = std::max<size_t>(largest_out, rows);
      const size_t most = stretch_of(SIZE_MAX / 2, rows + tensor.cols);
      largest_left = std::max(largest_left, most * rows);
      largest_right = std::max(largest_right, most * tensor.cols);
    }
  }
  for (int t = 0; t < team_.size(); ++t)
    update_workspaces_.push_back(
        {Buffer<int8_t>(largest_left), Buffer<int8_t>(largest_right),
         Buffer<int8_t>(4 * std::max<size_t>(kFoursTogether * (largest_in + largest_out),
                                             2 * settings_.shape.width))});
}

// The pairs come in fours of terms; a term is (pair, q). What is missing to a four adds nothing.
void CpuBackend::make_matrix_rows(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                                  std::span<const ActivePair> active, int32_t* z) const {
  const TensorSpec& tensor = layout_[unit.tensor];
  const size_t r = settings_.noise_rank;
  const size_t in = tensor.cols, out = tensor.rows, rows = unit.rows;
  const size_t terms = active.size() * r;
  if (terms == 0) std::fill_n(z, rows * in, 0);
  const size_t stretch = terms == 0 ? 0 : stretch_of(terms, rows + in);
  for (size_t first = 0; first < terms; first += stretch) {
    const size_t count = std::min(stretch, terms - first);
    const size_t fours = (count + 3) / 4;
    for (size_t g = 0; g < fours; g += kFoursTogether) {
      const size_t end = std::min(count, 4 * (g + kFoursTogether));
      std::array<NoiseRow, 2 * 4 * kFoursTogether> noise;
      size_t made = 0;
      int8_t* to = w.noise.data();
      for (size_t k = 4 * g; k < end; ++k) {
        const ActivePair& pair = active[(first + k) / r];
        const size_t q = (first + k) % r;
        const auto row = [&](size_t element, size_t length) {
          noise[made++] = {.tensor = unit.tensor,
                           .pair = static_cast<uint32_t>(pairs_.first + pair.pair),
                           .first = static_cast<uint32_t>(element),
                           .count = static_cast<uint32_t>(length),
                           .out = to};
          to += length;
        };
        row(q * in, in);
        row(r * in + q * out + unit.first_row, rows);
      }
      isa_.noise_panel({settings_.seed, epoch, noise.data(), noise.data() + made});
      for (size_t k = 4 * g; k < end; k += 4) {
        const int8_t *b[4], *a[4];
        int8_t present[4] = {}, d[4] = {};
        for (size_t i = 0; i < 4; ++i) {
          const size_t term = std::min(k + i, end - 1);  // of those behind the last any will do
          b[i] = noise[2 * (term - 4 * g)].out;
          a[i] = noise[2 * (term - 4 * g) + 1].out;
          if (k + i >= end) continue;
          present[i] = 1;
          d[i] = active[(first + term) / r].d;
        }
        isa_.interleave(b, present, in, 0, w.right.data() + k * kPanel, fours * 4 * kPanel);
        isa_.interleave(a, d, rows, 0x80, w.left.data() + k * rows, 4 * kPanel);
      }
    }
    isa_.outer(reinterpret_cast<const uint8_t*>(w.left.data()), w.right.data(), fours, rows, in,
               first > 0, z);
  }
}

void CpuBackend::make_vector(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                             std::span<const ActivePair> active, int32_t* z) const {
  std::fill_n(z, unit.rows, 0);
  for (size_t first = 0; first < active.size(); first += 4) {
    const size_t count = std::min<size_t>(4, active.size() - first);
    std::array<NoiseRow, 4> rows;
    for (size_t k = 0; k < count; ++k)
      rows[k] = {.tensor = unit.tensor,
                 .pair = static_cast<uint32_t>(pairs_.first + active[first + k].pair),
                 .count = 2 * unit.rows,
                 .out = w.noise.data() + k * 2 * unit.rows};
    isa_.noise({settings_.seed, epoch, rows.data(), rows.data() + count});
    for (size_t k = 0; k < count; ++k)
      isa_.outer_vector(rows[k].out, active[first + k].d, unit.rows, z);
  }
}

UpdateBucket CpuBackend::part_of(const UpdateUnit& unit) const {
  const TensorSpec& tensor = layout_[unit.tensor];
  return {tensor.offset + size_t{unit.first_row} * tensor.cols, size_t{unit.rows} * tensor.cols};
}

void CpuBackend::make_unit(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                           std::span<const ActivePair> active) {
  int32_t* z = z_.data() + part_of(unit).offset;
  if (layout_[unit.tensor].kind == TensorKind::vector)
    make_vector(w, unit, epoch, active, z);
  else
    make_matrix_rows(w, unit, epoch, active, z);
}

void CpuBackend::reconstruct(uint32_t noise_epoch, std::span<const int8_t> d, bool wide,
                             const ReconstructionProgress& progress) {
  require(d.size() == pairs_.count, kOneDifferenceEach);
  if (wide && wide_z_.size() == 0) wide_z_ = Buffer<int64_t>(layout_.size());
  const std::vector<ActivePair> active = active_pairs(d);
  const size_t stretch =
      wide ? kPairsWithin32Bits / settings_.noise_rank : std::max<size_t>(active.size(), 1);

  std::vector<std::atomic<uint32_t>> left(buckets_.size());
  for (const UpdateUnit& unit : units_) ++left[unit.bucket];
  size_t ready = 0;
  const auto report = [&] {
    while (ready < buckets_.size() && left[ready].load(std::memory_order_acquire) == 0)
      progress.bucket_ready(ready++);
    progress.poll();
  };
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  team_.run([&](int thread) {
    try {
      for (size_t u; (u = next.fetch_add(1, std::memory_order_relaxed)) < units_.size();) {
        const UpdateUnit& unit = units_[u];
        const auto [offset, size] = part_of(unit);
        if (wide) std::fill_n(wide_z_.data() + offset, size, int64_t{0});
        for (size_t first = 0; first == 0 || first < active.size(); first += stretch) {
          make_unit(update_workspaces_[thread], unit, noise_epoch,
                    std::span(active).subspan(first, std::min(stretch, active.size() - first)));
          if (wide)
            for (size_t i = 0; i < size; ++i) wide_z_.data()[offset + i] += z_.data()[offset + i];
        }
        left[unit.bucket].fetch_sub(1, std::memory_order_release);
        if (thread == 0) report();
      }
      if (thread != 0) return;
      while (ready < buckets_.size() && !failed.load(std::memory_order_relaxed)) {
        report();
        if (ready < buckets_.size()) std::this_thread::sleep_for(std::chrono::microseconds(5));
      }
    } catch (...) {
      failed = true;
      throw;
    }
  });
}

std::span<int32_t> CpuBackend::partial_update(size_t bucket) {
  return z_.span().subspan(buckets_[bucket].offset, buckets_[bucket].size);
}

std::span<int64_t> CpuBackend::wide_partial_update(size_t bucket) {
  return wide_z_.span().subspan(buckets_[bucket].offset, buckets_[bucket].size);
}

int64_t CpuBackend::largest_magnitude(size_t bucket) {
  int64_t largest = 0;
  for (const int64_t z : wide_partial_update(bucket)) largest = std::max(largest, z < 0 ? -z : z);
  return largest;
}

void CpuBackend::narrow(size_t bucket) {
  std::ranges::transform(wide_partial_update(bucket), partial_update(bucket).begin(),
                         [](int64_t z) { return static_cast<int32_t>(z); });
}

int64_t CpuBackend::threshold_of(size_t bucket, const StepRule& rule) const {
  return std::max<int64_t>(
      1, bucket_is_vectors_[bucket] ? rule.vector_threshold : rule.matrix_threshold);
}

// Returns how many of these parameters moved.
uint64_t CpuBackend::step_part(UpdateBucket part, int64_t threshold, bool wide) {
  const auto [first, count] = part;
  int8_t* parameters = parameters_.data() + first;
  if (wide) {
    const int64_t* z = wide_z_.data() + first;
    uint64_t moved = 0;
    for (size_t i = 0; i < count; ++i)
      moved +=
          settings_.update == UpdateRule::threshold
              ? step_by_sign(z[i], threshold, parameters[i])
              : step_by_evidence(z[i], threshold, accumulators_.data()[first + i], parameters[i]);
    return moved;
  }
  if (settings_.update == UpdateRule::threshold)
    return isa_.step_threshold(z_.data() + first, threshold, count, parameters);
  return isa_.step_sigma_delta(z_.data() + first, threshold, count, accumulators_.data() + first,
                               parameters);
}

void CpuBackend::step_shard(size_t bucket, Shard shard, const StepRule& rule, bool wide) {
  const size_t offset = buckets_[bucket].offset + shard.first, size = shard.count;
  require(shard.first + size <= buckets_[bucket].size, "a part of the bucket");
  const int64_t threshold = threshold_of(bucket, rule);
  packed_is_current_ = false;
  constexpr size_t kPiece = 65536;  // below this, waking the team costs more than the work
  if (size <= kPiece) {
    changed_ += step_part({offset, size}, threshold, wide);
    return;
  }
  std::atomic<uint64_t> changed{0};
  team_.for_each((size + kPiece - 1) / kPiece, [&](int, uint64_t piece) {
    const size_t first = piece * kPiece;
    changed += step_part({offset + first, std::min(kPiece, size - first)}, threshold, wide);
  });
  changed_ += changed;
}

std::span<int8_t> CpuBackend::give_parameters(size_t bucket, Shard) {
  return parameters_.span().subspan(buckets_[bucket].offset, buckets_[bucket].size);
}

// A unit is stepped by the thread that made it, while its sums are in the nearer caches.
void CpuBackend::reconstruct_and_step(uint32_t noise_epoch, std::span<const int8_t> d,
                                      const StepRule& rule) {
  require(d.size() == pairs_.count, kOneDifferenceEach);
  const std::vector<ActivePair> active = active_pairs(d);
  packed_is_current_ = false;
  std::atomic<uint64_t> changed{0};
  team_.for_each(units_.size(), [&](int thread, uint64_t u) {
    const UpdateUnit& unit = units_[u];
    make_unit(update_workspaces_[thread], unit, noise_epoch, active);
    changed += step_part(part_of(unit), threshold_of(unit.bucket, rule), /*wide=*/false);
  });
  changed_ += changed;
}

}  // namespace eggroll::cpu
