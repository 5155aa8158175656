// What the two files of the AVX-512 table share: short names for loads and stores, the product
// instruction, panel order.
//
// Panel order: byte 16 j + 4 L + e of a panel holds output 16 L + 4 j + e, so that packs_epi32 and
// packs_epi16, which work inside 128-bit lanes, put results back into natural order. It is a
// transposition of 4 x 4 dwords and its own inverse.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/portable.hpp"

namespace eggroll::cpu {
namespace {

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }
inline void store(void* p, __m512i v) { _mm512_storeu_si512(p, v); }
inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

// acc += dot of four u8 with four s8. The intrinsic makes g++ 12 spill an array of accumulators to
// memory.
inline void dot4(__m512i& acc, __m512i u8, __m512i s8) {
  asm("vpdpbusd %2,%1,%0" : "+v"(acc) : "v"(u8), "v"(s8));
}

// acc += dot of two s16 with two s16.
[[maybe_unused]] void add_words(__m512i& acc, __m512i a, __m512i b) {
  asm("vpdpwssd %2,%1,%0" : "+v"(acc) : "v"(a), "v"(b));
}

// What is to be in the second-level cache soon: each group of a product asks for one line of it.
struct Ahead {
  const int8_t* at;
  size_t step;
};

// The micro kernel: acc[r][j] += products of row r with 16 outputs, for Rows rows and the 64
// outputs of a panel. Each group is four bytes of a row (rows row_bytes apart, groups group_bytes
// apart), broadcast, and four vectors of the panel. Six rows fill 24 accumulators.
template <int Rows>
inline void accumulate(__m512i (&acc)[Rows][4], const uint8_t* x, size_t row_bytes,
                       size_t group_bytes, const int8_t* panel, size_t groups, Ahead ahead) {
  for (size_t g = 0; g < groups; ++g, panel += 4 * kPanel, x += group_bytes) {
    _mm_prefetch(ahead.at, _MM_HINT_T1);
    ahead.at += ahead.step;
    const __m512i w0 = load(panel), w1 = load(panel + 64), w2 = load(panel + 128),
                  w3 = load(panel + 192);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      int32_t four;
      std::memcpy(&four, x + r * row_bytes, sizeof four);
      const __m512i xs = _mm512_set1_epi32(four);
      dot4(acc[r][0], xs, w0);
      dot4(acc[r][1], xs, w1);
      dot4(acc[r][2], xs, w2);
      dot4(acc[r][3], xs, w3);
    }
  }
}

// tile.operator()<Rows>(row) for micro tiles that cover all rows.
template <typename Tile>
inline void for_each_micro_tile(size_t rows, const Tile& tile) {
  size_t row = 0;
  for (; rows - row >= 9 || rows - row == 6; row += 6) tile.template operator()<6>(row);
  // Seven and eight rows go as 4 + 3 and 4 + 4: a tile of one or two has too few accumulators to
  // hide the latency.
  if (rows - row > 6) {
    tile.template operator()<4>(row);
    row += 4;
  }
  switch (rows - row) {
    case 1:
      return tile.template operator()<1>(row);
    case 2:
      return tile.template operator()<2>(row);
    case 3:
      return tile.template operator()<3>(row);
    case 4:
      return tile.template operator()<4>(row);
    case 5:
      return tile.template operator()<5>(row);
    default:
      return;
  }
}

[[maybe_unused]] __m512i transpose_dwords(__m512i v) {
  return _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
}

}  // namespace

// isa_avx512_linear.cpp
namespace avx512 {
double product_loop(uint64_t iterations);
void pack(const int8_t* w, size_t out, size_t in, int8_t* panels, int32_t* compensation);
void linear(const LinearCall& call);
}  // namespace avx512

}  // namespace eggroll::cpu
