// Z = sum_j d_j A_j B_j^T as one product over pairs: (diag(d) A)^T B (arXiv 2511.16652, equation of the
// update), with the noise made again and the pairs without a difference left out; and the sums of noise
// that is not of low rank, element by element.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "common/check.hpp"
#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/cpu/learner.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll::cpu {
namespace {

// Terms of one product: as many as keep its operands in the second-level cache, and enough that
// adding to Z costs little.
constexpr size_t kOperandBytes = 640 << 10;
constexpr size_t kFewestTerms = 512;
// What one thread makes at a time of a tensor; multiples of 64.
constexpr size_t kUnitRows = 1024;
constexpr size_t kUnitElements = 16384;
constexpr size_t kFoursTogether = 4;  // of terms whose noise is made in one call
constexpr size_t kPairsTogether = 4;  // likewise, where there are no terms

// Equal parts, in fours, of all terms, of `columns` bytes each.
size_t stretch_of(size_t terms, size_t columns) {
  const size_t most = std::max(kOperandBytes / columns, kFewestTerms) / 4;
  const size_t fours = (terms + 3) / 4;
  const size_t parts = (fours + most - 1) / most;
  return 4 * ((fours + parts - 1) / parts);
}

// Runs of noise that an element has a factor in.
size_t factors_of(const TensorSpec& tensor) { return tensor.noise == Noise::product ? 2 : 1; }

// Overflow is none: what 5 times a higher digit has too much, lower digits take back modulo 2^32.
void times_base(int32_t* z, size_t n) {
  for (size_t i = 0; i < n; ++i)
    z[i] = static_cast<int32_t>(uint32_t{kPlaneBase} * static_cast<uint32_t>(z[i]));
}

}  // namespace

void CpuLearner::plan_units() {
  size_t largest_noise = 0, largest_left = 0, largest_right = 0, largest_sums = 0;
  const auto make_room = [&](const TensorSpec& tensor, size_t count) {
    const size_t run = noise_run(count), in = noise_run(tensor.cols);
    if (tensor.noise != Noise::low_rank) {
      largest_noise = std::max(largest_noise, kPairsTogether * factors_of(tensor) * run);
      largest_sums = std::max(largest_sums, run);
      return;
    }
    const size_t terms = stretch_of(SIZE_MAX / 2, count + in);
    largest_noise = std::max(largest_noise, 4 * kFoursTogether * (in + run));
    largest_left = std::max(largest_left, terms * count + 4 * (run - count));
    largest_right = std::max(largest_right, terms * in);
    if (in != tensor.cols) largest_sums = std::max(largest_sums, count * kPanel);
  };
  for (uint32_t b = 0; b < buckets_.size(); ++b)
    for (uint32_t t = 0; t < layout().tensors().size(); ++t) {
      const TensorSpec& tensor = layout()[t];
      if (!buckets_[b].has(tensor)) continue;
      const bool is_low_rank = tensor.noise == Noise::low_rank;
      const size_t whole = is_low_rank ? tensor.rows : tensor.size();
      const size_t most = is_low_rank ? kUnitRows : kUnitElements;
      for (size_t first = 0; first < whole; first += most) {
        const size_t count = std::min(most, whole - first);
        units_.push_back({t, static_cast<uint32_t>(first), static_cast<uint32_t>(count), b});
        make_room(tensor, count);
      }
    }
  for (int t = 0; t < team_.size(); ++t)
    workspaces_.push_back({Buffer<int8_t>(largest_left), Buffer<int8_t>(largest_right),
                           Buffer<int8_t>(largest_noise), Buffer<int32_t>(largest_sums)});
}

// One plane of some rows: its sums, or these added to what is there. The pairs come in fours of
// terms; a term is (pair, q). What is missing to a four adds nothing. Of columns that do not end
// with a panel the last ones go to w.sums.
void CpuLearner::add_plane(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                           std::span<const ActivePair> pairs, bool add, int32_t* z) const {
  const TensorSpec& tensor = layout()[unit.tensor];
  const size_t r = static_cast<size_t>(settings_.noise_rank);
  const size_t in = noise_run(tensor.cols), out = noise_run(tensor.rows);
  const size_t rows = unit.count, run = noise_run(rows);
  const size_t in_whole_panels = tensor.cols / kPanel * kPanel;
  if (pairs.empty()) return;  // of the highest plane there are some
  const size_t terms = pairs.size() * r;
  const size_t stretch = stretch_of(terms, rows + in);
  for (size_t first = 0; first < terms; first += stretch) {
    const size_t count = std::min(stretch, terms - first);
    const size_t fours = (count + 3) / 4;
    for (size_t g = 0; g < fours; g += kFoursTogether) {
      const size_t end = std::min(count, 4 * (g + kFoursTogether));
      std::array<NoiseRow, 2 * 4 * kFoursTogether> noise;
      size_t made = 0;
      int8_t* to = w.noise.data();
      for (size_t k = 4 * g; k < end; ++k) {
        const ActivePair& pair = pairs[(first + k) / r];
        const size_t q = (first + k) % r;
        const auto row = [&](size_t element, size_t length) {
          noise[made++] = {.tensor = unit.tensor,
                           .pair = pair.pair,
                           .first = static_cast<uint32_t>(element),
                           .count = static_cast<uint32_t>(length),
                           .out = to};
          to += length;
        };
        row(q * in, in);
        row(r * in + q * out + unit.first, run);
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
          d[i] = static_cast<int8_t>(pairs[(first + term) / r].d);
        }
        isa_.interleave(b, present, in, 0, w.right.data() + k * kPanel, fours * 4 * kPanel);
        // What a run has beyond the rows the next four overwrites.
        isa_.interleave(a, d, run, 0x80, w.left.data() + k * rows, 4 * kPanel);
      }
    }
    const auto* left = reinterpret_cast<const uint8_t*>(w.left.data());
    const bool add_to = add || first > 0;
    if (in_whole_panels > 0)
      isa_.outer(left, w.right.data(), fours, rows, in_whole_panels, add_to, z, tensor.cols);
    if (in_whole_panels < in)
      isa_.outer(left, w.right.data() + 4 * fours * in_whole_panels, fours, rows, kPanel, add_to,
                 w.sums.data(), kPanel);
  }
}

// The planes from the highest to the lowest: Z = Z_0 + 5 (Z_1 + 5 (Z_2 + ...)).
void CpuLearner::make_rows(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                           std::span<const std::span<const ActivePair>> planes, int32_t* z) const {
  const size_t rows = unit.count, cols = layout()[unit.tensor].cols;
  const size_t beside_panels = cols % kPanel;
  if (planes.empty()) {
    std::fill_n(z, rows * cols, 0);
    return;
  }
  for (size_t plane = planes.size(); plane-- > 0;) {
    const bool add = plane + 1 < planes.size();
    if (add) {
      times_base(z, rows * cols);
      if (beside_panels > 0) times_base(w.sums.data(), rows * kPanel);
    }
    add_plane(w, unit, epoch, planes[plane], add, z);
  }
  if (beside_panels > 0)
    for (size_t row = 0; row < rows; ++row)
      std::copy_n(w.sums.data() + row * kPanel, beside_panels,
                  z + row * cols + (cols - beside_panels));
}

// Noise that is not of low rank takes d as it is.
void CpuLearner::make_elements(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                               std::span<const ActivePair> pairs, int32_t* z) const {
  const TensorSpec& tensor = layout()[unit.tensor];
  const size_t run = noise_run(unit.count), factors = factors_of(tensor);
  int32_t* sums = run == unit.count ? z : w.sums.data();
  std::fill_n(sums, run, 0);
  for (size_t first = 0; first < pairs.size(); first += kPairsTogether) {
    const size_t count = std::min(kPairsTogether, pairs.size() - first);
    std::array<NoiseRow, 2 * kPairsTogether> noise;
    for (size_t k = 0; k < count; ++k)
      for (size_t f = 0; f < factors; ++f)
        noise[k * factors + f] = {
            .tensor = unit.tensor,
            .pair = pairs[first + k].pair,
            .first = static_cast<uint32_t>(f * noise_run(tensor.size()) + unit.first),
            .count = static_cast<uint32_t>(run),
            .out = w.noise.data() + (k * factors + f) * run};
    isa_.noise({settings_.seed, epoch, noise.data(), noise.data() + count * factors});
    for (size_t k = 0; k < count; ++k) {
      const auto add = tensor.noise == Noise::product ? isa_.outer_vector : isa_.add_full;
      add(noise[k * factors].out, pairs[first + k].d, run, sums);
    }
  }
  if (sums != z) std::copy_n(sums, unit.count, z);
}

UpdatePart CpuLearner::part_of(const UpdateUnit& unit) const {
  const TensorSpec& tensor = layout()[unit.tensor];
  const size_t of_each = tensor.noise == Noise::low_rank ? tensor.cols : 1;
  const size_t first = unit.first * of_each;
  return {tensor.offset + first, tensor.at + first * bytes_of(tensor.element),
          unit.count * of_each};
}

void CpuLearner::make_unit(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                           const ActivePairs& active) {
  int32_t* z = z_.data() + part_of(unit).offset;
  if (layout()[unit.tensor].noise == Noise::low_rank)
    make_rows(w, unit, epoch, active.planes, z);
  else
    make_elements(w, unit, epoch, active.all, z);
}

// As many pairs at a time as 32 bits hold the sum of.
void CpuLearner::make_wide_unit(UpdateWorkspace& w, const UpdateUnit& unit, uint32_t epoch,
                                const ActivePairs& active) {
  const UpdatePart part = part_of(unit);
  int32_t* z = z_.data() + part.offset;
  int64_t* wide_z = wide_z_.data() + part.offset;
  std::fill_n(wide_z, part.size, int64_t{0});
  const auto add = [&](std::span<const ActivePair> pairs, size_t most, int64_t factor, auto make) {
    for (size_t first = 0; first < pairs.size(); first += most) {
      make(pairs.subspan(first, std::min(most, pairs.size() - first)));
      for (size_t i = 0; i < part.size; ++i) wide_z[i] += factor * z[i];
    }
  };
  if (layout()[unit.tensor].noise != Noise::low_rank) {
    const uint64_t most = pairs_within_32_bits(active.largest);
    add(active.all, most, 1,
        [&](std::span<const ActivePair> pairs) { make_elements(w, unit, epoch, pairs, z); });
    return;
  }
  const uint64_t most = kPairsWithin32Bits / static_cast<uint64_t>(settings_.noise_rank);
  for (size_t plane = 0; plane < active.planes.size(); ++plane)
    add(active.planes[plane], most, power_of_plane(static_cast<int>(plane)),
        [&](std::span<const ActivePair> pairs) {
          make_rows(w, unit, epoch, {&pairs, 1}, z);
        });
}

void CpuLearner::reconstruct(const Utilities& utilities, bool wide,
                             const ReconstructionProgress& progress) {
  if (wide && wide_z_.size() == 0) wide_z_ = Buffer<int64_t>(layout().trained());
  const ActivePairs active(utilities);

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
        (this->*(wide ? &CpuLearner::make_wide_unit : &CpuLearner::make_unit))(
            workspaces_[thread], unit, utilities.noise_epoch, active);
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

std::span<int32_t> CpuLearner::partial_update(size_t bucket) {
  return z_.span().subspan(buckets_[bucket].offset, buckets_[bucket].size);
}

std::span<int64_t> CpuLearner::wide_partial_update(size_t bucket) {
  return wide_z_.span().subspan(buckets_[bucket].offset, buckets_[bucket].size);
}

int64_t CpuLearner::largest_magnitude(size_t bucket) {
  int64_t largest = 0;
  for (const int64_t z : wide_partial_update(bucket)) largest = std::max(largest, z < 0 ? -z : z);
  return largest;
}

void CpuLearner::narrow(size_t bucket) {
  std::ranges::transform(wide_partial_update(bucket), partial_update(bucket).begin(),
                         [](int64_t z) { return static_cast<int32_t>(z); });
}

}  // namespace eggroll::cpu
