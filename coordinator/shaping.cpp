#include "coordinator/shaping.hpp"

#include <algorithm>

namespace eggroll {
namespace {

uint32_t magnitude(int32_t v) {
  return v < 0 ? 0u - static_cast<uint32_t>(v) : static_cast<uint32_t>(v);
}

uint32_t value_at_rank(std::vector<uint32_t>& values, size_t rank) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(rank),
                   values.end());
  return values[rank];
}

}  // namespace

ShapedPopulation shape(std::span<const int32_t> difference, FitnessRule rule) {
  const size_t n = difference.size();
  uint32_t counts_once = 0, counts_twice = UINT32_MAX;
  if (rule == FitnessRule::levels && n != 0) {
    std::vector<uint32_t> sizes(n);
    std::ranges::transform(difference, sizes.begin(), magnitude);
    counts_once = value_at_rank(sizes, n / 3);
    counts_twice = value_at_rank(sizes, 79 * n / 100);
  }
  ShapedPopulation shaped{.d = std::vector<int8_t>(n)};
  for (size_t j = 0; j < n; ++j) {
    const uint32_t size = magnitude(difference[j]);
    shaped.ties += size == 0;
    if (size == 0 || size < counts_once) continue;
    const int level = size >= counts_twice ? 2 : 1;
    shaped.d[j] = static_cast<int8_t>(difference[j] < 0 ? -level : level);
    shaped.sum_magnitudes += static_cast<uint64_t>(level);
    shaped.sum_squares += static_cast<uint64_t>(level * level);
  }
  return shaped;
}

}  // namespace eggroll
