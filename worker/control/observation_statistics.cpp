#include "worker/control/observation_statistics.hpp"

#include <algorithm>
#include <cmath>

namespace eggroll {
namespace {

constexpr float kUnit = 0x1p20f, kMost = 0x1p15f;
constexpr float kClip = 5;
// Numbers that never move do not explode when they first do.
constexpr double kLeastDeviation = 1e-4;

// Sums wrap where a file has words that no run has made.
__extension__ using Wide = __int128;
__extension__ using WrappingWide = unsigned __int128;

int64_t quantised(float x) {
  const float clipped = x > kMost ? kMost : x > -kMost ? x : x <= -kMost ? -kMost : 0;  // NaN: 0
  return std::llrint(clipped * kUnit);
}

constexpr int64_t kLow = 0xFFFFFFFF;

}  // namespace

void ObservationSums::add(std::span<const float> observation) {
  ++count_;
  for (size_t d = 0; d < sums_.size(); ++d) {
    const int64_t q = quantised(observation[d]);
    sums_[d].q += q;
    sums_[d].squares += static_cast<Wide>(q) * static_cast<Wide>(q);
  }
}

void ObservationSums::add_to(std::span<int64_t> to) const {
  to[0] += count_;
  int64_t* word = to.data() + 1;
  for (const Sums& sums : sums_) {
    *word++ += sums.q & kLow;
    *word++ += sums.q >> 32;
    *word++ += static_cast<int64_t>(sums.squares) & kLow;
    *word++ += static_cast<int64_t>(sums.squares >> 32) & kLow;
    *word++ += static_cast<int64_t>(sums.squares >> 64);
  }
}

// In integers as far as they go: the mean rounded to a unit first, and the squares around it.
void Normaliser::read(std::span<const int64_t> words) {
  const int64_t count = words[0];
  is_in_use_ = count > 0;
  if (!is_in_use_) return;
  for (size_t d = 0; d < mean_.size(); ++d) {
    const int64_t* word = words.data() + 1 + kWordsPerNumber * d;
    const auto at = [&](size_t i) { return static_cast<WrappingWide>(word[i]); };
    const WrappingWide sum = (at(1) << 32) + at(0);
    const WrappingWide squares = (at(4) << 64) + (at(3) << 32) + at(2);
    const auto middle = static_cast<WrappingWide>(static_cast<Wide>(sum) / count);
    const auto observations = static_cast<WrappingWide>(count);
    const auto rest = static_cast<Wide>(sum - middle * observations);  // of the mean, over count
    const auto around =
        static_cast<Wide>(squares - 2 * middle * sum + middle * middle * observations);
    const double part = static_cast<double>(rest) / static_cast<double>(count);
    const double variance = static_cast<double>(around) / static_cast<double>(count) - part * part;
    const double unit = double{kUnit};
    mean_[d] = static_cast<float>((static_cast<double>(static_cast<Wide>(middle)) + part) / unit);
    factor_[d] = static_cast<float>(
        1 / std::max(std::sqrt(std::max(variance, 0.0)) / unit, kLeastDeviation));
  }
}

void Normaliser::apply(std::span<const float> observation, std::span<float> to) const {
  if (!is_in_use_) {
    std::ranges::copy(observation, to.begin());
    return;
  }
  for (size_t d = 0; d < mean_.size(); ++d) {
    const float scaled = (observation[d] - mean_[d]) * factor_[d];
    to[d] = scaled > kClip ? kClip : scaled < -kClip ? -kClip : scaled;
  }
}

}  // namespace eggroll
