// How the sum of a generation is divided, the same on every twin: into buckets, so that ranks with
// different devices reduce the same ones, and into planes of digits, so that each plane is a product of
// small integers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "common/layout.hpp"
#include "common/noise.hpp"

namespace eggroll {

// What is summed: d of consecutive pairs (addresses of noise), |d| <= kLargestUtility. Only d != 0
// costs anything, and a d of at most 2 in size a fifth of what the largest may.
struct Utilities {
  uint32_t noise_epoch = 0;
  uint64_t first_pair = 0;
  std::span<const int16_t> d = {};
};

// A contiguous part of the trained parameters that travels in one all-reduce: tensors with the same
// noise and element.
struct UpdateBucket {
  size_t offset;  // of the first, among the trained elements
  size_t size;    // elements
  size_t at;      // in the arena of the parameters, bytes
  Noise noise;
  Element element;

  bool has(const TensorSpec& tensor) const {
    return tensor.is_trained() && tensor.offset >= offset && tensor.offset < offset + size;
  }
};

// Pairs of noise rank 1 (terms) with |digit A B| <= 2 * 63 * 63 whose sum stays below 2^31.
inline constexpr uint64_t kPairsWithin32Bits = 262144;
static_assert(kPairsWithin32Bits * 2 * kNoiseMax * kNoiseMax < (uint64_t{1} << 31));

// Large tensors alone, small ones of a kind together; largest first: nothing long starts when the rest
// is done. Buckets cover the trained elements.
std::vector<UpdateBucket> plan_update(const ParameterLayout& layout);

// d = sum_k 5^k digit_k, digits -2 ... 2: Z = sum_k 5^k Z_k, where Z_k = sum_j digit_jk E_j.
inline constexpr int kMostPlanes = 5;
inline constexpr int kPlaneBase = 5;

// How many planes these d need: 0 where all are 0.
inline int planes_of(std::span<const int16_t> d) {
  int largest = 0;
  for (const int16_t each : d) largest = std::max(largest, std::abs(static_cast<int>(each)));
  int planes = 0;
  for (int reached = 0, power = 1; reached < largest; ++planes, power *= kPlaneBase)
    reached += 2 * power;
  return planes;
}

constexpr int8_t digit_of(int d, int plane) {
  for (;; --plane) {
    const int digit = (d % kPlaneBase + kPlaneBase + 2) % kPlaneBase - 2;
    if (plane == 0) return static_cast<int8_t>(digit);
    d = (d - digit) / kPlaneBase;
  }
}

constexpr int power_of_plane(int plane) {
  int power = 1;
  while (plane-- > 0) power *= kPlaneBase;
  return power;
}

// A pair, by the address of its noise, whose d is not 0; or, of a plane, whose digit is not.
struct ActivePair {
  uint32_t pair;
  int16_t d;
};

// What of the utilities adds to Z.
struct ActivePairs {
  explicit ActivePairs(const Utilities& utilities);
  ActivePairs(const ActivePairs&) = delete;
  ActivePairs& operator=(const ActivePairs&) = delete;

  std::vector<ActivePair> all;
  std::vector<std::vector<ActivePair>> digits;      // of each plane, where there are several
  std::vector<std::span<const ActivePair>> planes;  // the lowest digit first
  uint64_t largest = 0;                             // |d|
};

// How many pairs of noise other than of low rank can be summed in 32 bits, with |d| up to `largest`.
inline uint64_t pairs_within_32_bits(uint64_t largest) {
  return 2 * kPairsWithin32Bits / std::max<uint64_t>(largest, 2);
}

}  // namespace eggroll
