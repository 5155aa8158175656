// a b + c, rounded once: the one operation that float layers add with, so that all instruction sets
// give the same bits. Processors have it, but code that is compiled for all of them may not use it, and
// the maths library's is a call for each number; there it is made of double precision.
#pragma once

#include <bit>
#include <cstdint>

namespace eggroll::cpu {
namespace {

// The product is exact in double. The sum is rounded to odd (Boldo and Melquiond 2008): of the two
// doubles around it, the one whose last bit is set, which rounds to float as the sum itself does.
inline float fused_in_double(float a, float b, float c) {
  const double product = static_cast<double>(a) * b;
  const double sum = product + c;
  const double back = sum - product;
  const double error = (product - (sum - back)) + (c - back);  // of the sum, exact; NaN: not finite
  const auto bits = std::bit_cast<uint64_t>(sum);
  const uint64_t is_even = ~bits & 1;
  const uint64_t is_beyond = (bits ^ std::bit_cast<uint64_t>(error)) >> 63;  // of the exact sum
  const auto odd = std::bit_cast<double>(bits + is_even - ((is_even & is_beyond) << 1));
  return static_cast<float>(error > 0 ? odd : error < 0 ? odd : sum);
}

inline float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  return fused_in_double(a, b, c);
#endif
}

}  // namespace
}  // namespace eggroll::cpu
