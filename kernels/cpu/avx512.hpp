// What the two files of the AVX-512 table share: the product instruction and panel order.
//
// Panel order: byte 16 j + 4 L + e of a panel holds output 16 L + 4 j + e, so that packs_epi32 and
// packs_epi16, which work inside 128-bit lanes, put results back into natural order. It is a
// transposition of 4 x 4 dwords and its own inverse.
#pragma once

#include "kernels/cpu/avx512_micro_kernel.hpp"
#include "kernels/cpu/portable.hpp"

namespace eggroll::cpu {
namespace {

// acc += dot of four u8 with four s8. The intrinsic makes g++ 12 spill an array of accumulators to
// memory.
inline void dot4(__m512i& acc, __m512i u8, __m512i s8) {
  asm("vpdpbusd %2,%1,%0" : "+v"(acc) : "v"(u8), "v"(s8));
}

// acc += dot of two s16 with two s16.
[[maybe_unused]] void add_words(__m512i& acc, __m512i a, __m512i b) {
  asm("vpdpwssd %2,%1,%0" : "+v"(acc) : "v"(a), "v"(b));
}

struct Int8Products {
  using Sum = __m512i;
  static constexpr double kOperations = 128;
  static void add(Sum& sum, __m512i u8, __m512i s8) { dot4(sum, u8, s8); }
};

[[maybe_unused]] __m512i transpose_dwords(__m512i v) {
  return _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
}

// Sums of the elements of four vectors, as four dwords.
[[maybe_unused]] __m128i sums_of(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i abcd =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

}  // namespace

// isa_avx512_linear.cpp
namespace avx512 {
double product_loop(uint64_t iterations);
void pack(const int8_t* w, size_t out, size_t in, int8_t* panels, int32_t* compensation);
void linear(const LinearCall& call);
}  // namespace avx512

}  // namespace eggroll::cpu
