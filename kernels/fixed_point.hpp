// Scalar integer arithmetic of the model that every twin shares: clipping, rounding of perturbations,
// and the integer score of a byte. Tables are literals, so the numbers depend on no maths library; code
// of a device, which does not see the host's tables, brings a copy of its own. Source: docs/model.md.
#pragma once

#include <cstdint>

#include "common/noise.hpp"
#include "common/rng.hpp"
#include "common/rules.hpp"

namespace eggroll {

inline constexpr int kFractionBits = 4;  // 16 = 1.0

EGGROLL_HD constexpr int32_t clip8(int32_t v) { return v > 127 ? 127 : v < -127 ? -127 : v; }

// v / 2^shift, shift >= 1: to nearest with ties away from zero (so round(-v) = -round(v)), or floor.
template <typename T>
EGGROLL_HD constexpr T round_shift(T v, int shift, Rounding rounding) {
  if (rounding == Rounding::floor) return v >> shift;
  return (v + (T{1} << (shift - 1)) - (v < 0 ? 1 : 0)) >> shift;
}

// Can sum_q p_q A_q of the perturbation leave 32 bits? |x| <= 127, and the noise law bounds A and B.
EGGROLL_HD constexpr bool needs_64_bits(size_t in, int terms) {
  return uint64_t{127} * kNoiseMax * kNoiseMax * in * static_cast<uint64_t>(terms) >=
         (uint64_t{1} << 31) - (uint64_t{1} << 24);
}

// Exponent e of a power of four 4^e = n: sqrt(n) = 2^e.
EGGROLL_HD constexpr int log2_sqrt(uint32_t n) {
  int e = 0;
  while ((uint64_t{1} << (2 * (e + 1))) <= n) ++e;
  return e;
}

// floor(2^19 * 2^(f/16)): EXP2[v] = floor(16 * 2^(v/16)) = kExp2Mantissa[v mod 16] >> (15 - v / 16)
// for v in 0..255.
inline constexpr uint32_t kExp2Mantissa[16] = {524288, 547500, 571740, 597053, 623487, 651091,
                                               679917, 710019, 741455, 774282, 808562, 844360,
                                               881743, 920781, 961548, 1004119};
EGGROLL_HD constexpr uint32_t exp2_fixed(uint32_t v, const uint32_t* mantissa) {
  return mantissa[v & 15] >> (15 - (v >> 4));
}
constexpr uint32_t exp2_fixed(uint32_t v) { return exp2_fixed(v, kExp2Mantissa); }

// ceil(2^(31 + f/16)), f = 1..15: where the fraction of a base-2 logarithm passes f/16.
inline constexpr int kLog2Edges = 15;
inline constexpr uint32_t kLog2Edge[kLog2Edges] = {
    2242560872, 2341847524, 2445529972, 2553802834, 2666869345, 2784941738, 2908241643, 3037000500,
    3171460000, 3311872530, 3458501654, 3611622603, 3771522797, 3938502376, 4112874774};

// floor(16 * log2(S / 16)) for S >= 16.
EGGROLL_HD constexpr int32_t log2_fixed(uint32_t s, const uint32_t* edge) {
  int exponent = 31;
  while (!(s & 0x80000000u)) {
    s <<= 1;
    --exponent;
  }
  int32_t fraction = 0;
  for (int f = 0; f < kLog2Edges; ++f) fraction += s >= edge[f];
  return 16 * (exponent - 4) + fraction;
}
constexpr int32_t log2_fixed(uint32_t s) { return log2_fixed(s, kLog2Edge); }

}  // namespace eggroll
