// Exact counts that add up over members, tiles and ranks in any order. What each of them counts is for
// the task to say (worker/task.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace eggroll {

struct Tally {
  static constexpr size_t kCounts = 5;
  std::array<int64_t, kCounts> count{};

  Tally& operator+=(const Tally& other) {
    for (size_t i = 0; i < kCounts; ++i) count[i] += other.count[i];
    return *this;
  }
  int64_t& operator[](size_t i) { return count[i]; }
  int64_t operator[](size_t i) const { return count[i]; }
  bool operator==(const Tally&) const = default;
};
static_assert(std::is_trivially_copyable_v<Tally>);

// Sums of as many numbers as a task says, exact as well; empty ones are zeros.
inline void add_sums(std::vector<int64_t>& to, std::span<const int64_t> sums) {
  if (to.size() < sums.size()) to.resize(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) to[i] += sums[i];
}

}  // namespace eggroll
