// The AVX-512 table, part two: packed weights and the perturbed product.
#include "kernels/cpu/avx512_perturbation.hpp"

namespace eggroll::cpu {
namespace {

constexpr size_t panel_order(size_t position) {
  return 16 * (position / 4 % 4) + 4 * (position / 16) + position % 4;
}

// ---- perturbed product
// --------------------------------------------------------------------------------------------

template <int Rows, Width W, Rounding R, bool ChooseBytes, typename WhatIsAhead>
inline void linear_tile(const LinearCall& c, int row, const int8_t* panel, size_t first,
                        WhatIsAhead ahead) {
  const size_t in = c.w.in;
  __m512i acc[Rows][4];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[r][j] = load(c.w.compensation + first + 16 * j);
  accumulate<Int8Products>(acc, c.x + row * in, in, 4, panel, in / 4, ahead);
  finish_rows<Rows, W, R, ChooseBytes>(c, row, first, acc);
}

// Where members are perturbed, a tile of the first panel makes the projections of its rows, beside
// the product before it, and the tiles of a panel ask for the next one together; behind the last
// follow the weights of the next matrix.
template <Width W, Rounding R, bool ChooseBytes>
void linear_rows(const LinearCall& c) {
  const size_t panel_bytes = kPanel * c.w.in, rows = static_cast<size_t>(c.rows);
  for (size_t first = 0; first < c.w.out; first += kPanel) {
    const int8_t* panel = c.w.panels + first * c.w.in;
    for_each_micro_tile(rows, [&]<int Rows>(size_t row) {
      const auto at = static_cast<int>(row);
      if constexpr (W == Width::none) {
        linear_tile<Rows, W, R, ChooseBytes>(c, at, panel, first, NothingAhead{});
      } else {
        if (first == 0) project<W == Width::split>(c, at, Rows);
        const char* next = reinterpret_cast<const char*>(panel + panel_bytes);
        linear_tile<Rows, W, R, ChooseBytes>(
            c, at, panel, first, Ahead{next + panel_bytes * row / rows, 4 * kPanel * Rows / rows});
      }
    });
  }
}

}  // namespace

namespace avx512 {

double product_loop(uint64_t iterations) { return loop_of_products<Int8Products>(iterations); }

void pack(const int8_t* w, size_t out, size_t in, int8_t* panels, int32_t* compensation) {
  for (size_t p = 0; p < out; p += kPanel) {
    const int8_t* rows[kPanel];
    for (size_t o = 0; o < kPanel; ++o) rows[o] = w + (p + panel_order(o)) * in;
    const __m512i ones = _mm512_set1_epi8(-128);  // 128 as u8
    for (size_t o = 0; o < kPanel; ++o) {
      __m512i sum = _mm512_setzero_si512();
      for (size_t i = 0; i < in; i += 64) dot4(sum, ones, load(rows[o] + i));
      compensation[p + o] = -_mm512_reduce_add_epi32(sum);
    }
    // 16 outputs x 16 groups of four inputs: a transposition of dwords.
    for (size_t i = 0; i < in; i += 64)
      for (size_t j = 0; j < 4; ++j) {
        alignas(64) uint32_t block[16][16];
        for (size_t lane = 0; lane < 16; ++lane) store(block[lane], load(rows[16 * j + lane] + i));
        const __m512i stride = _mm512_mullo_epi32(
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
            _mm512_set1_epi32(16));
        for (size_t g = 0; g < 16; ++g)
          store(panels + (i / 4 + g) * 4 * kPanel + 64 * j,
                _mm512_i32gather_epi32(stride, &block[0][g], 4));
      }
    panels += in * kPanel;
  }
}

void linear(const LinearCall& c) {
  with_the_end_of(
      c, [&]<Width W, Rounding R, bool ChooseBytes>() { linear_rows<W, R, ChooseBytes>(c); });
}

}  // namespace avx512
}  // namespace eggroll::cpu
