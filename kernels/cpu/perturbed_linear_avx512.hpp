// The layer of perturbed_linear.hpp in AVX-512, over the micro kernel that int8 has too. What a
// Products has to have here beside what avx512_micro_kernel.hpp says:
//
//   Element, kInputs  of x, W and y; how many of them a vector holds
//   noise             kInputs elements of noise as a vector of Element, exactly
//   store             the 64 sums of a row and a panel to y, rounded once
#pragma once

#include "kernels/cpu/avx512_micro_kernel.hpp"
#include "kernels/cpu/perturbed_linear.hpp"

namespace eggroll::cpu {
namespace {

template <typename Products>
using CallOf = PerturbedLinearCall<typename Products::Element>;

inline __m512 floats_of(__m512i bits) { return _mm512_castsi512_ps(bits); }

// Sixteen elements of noise.
inline __m512 noise_as_floats(const int8_t* noise) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(noise)));
}

// Sums of the elements of four vectors.
inline __m128 sums_of(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 abcd =
      _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xEE));
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
  return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

// projection[row][q] = s scale x . B_q of Rows rows, for Terms terms: 1 or 4. Rows 2 i and 2 i + 1
// are a pair and share B.
template <typename Products, int Rows, int Terms>
inline void project_terms(const CallOf<Products>& c, size_t row, size_t q, float scale) {
  const auto* x = c.x + row * c.in;
  const int8_t* b = c.noise + row / 2 * c.noise_stride + q * c.in;
  __m512 sum[Rows][Terms] = {};
  for (size_t i = 0; i < c.in; i += Products::kInputs)
#pragma GCC unroll 3
    for (int r = 0; r < Rows; r += 2) {
      const __m512i plus = load(x + r * c.in + i);
      const __m512i minus = r + 1 < Rows ? load(x + (r + 1) * c.in + i) : plus;
#pragma GCC unroll 4
      for (int t = 0; t < Terms; ++t) {
        const __m512i noise = Products::noise(b + r / 2 * c.noise_stride + t * c.in + i);
        Products::add(sum[r][t], plus, noise);
        if (r + 1 < Rows) Products::add(sum[r + 1][t], minus, noise);
      }
    }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    float* to = c.projection + (row + r) * c.noise_rank + q;
    const float factor = r % 2 == 0 ? scale : -scale;
    if constexpr (Terms == 4)
      _mm_storeu_ps(
          to, _mm_mul_ps(_mm_set1_ps(factor), sums_of(sum[r][0], sum[r][1], sum[r][2], sum[r][3])));
    else
      *to = factor * _mm512_reduce_add_ps(sum[r][0]);
  }
}

// Not inlined: it happens once in a call and row, and would take registers from the micro kernel.
template <typename Products, int Rows>
[[gnu::noinline]] void project(const CallOf<Products>& c, size_t row, float scale) {
  size_t q = 0;
  for (; q + 4 <= c.noise_rank; q += 4) project_terms<Products, Rows, 4>(c, row, q, scale);
  for (; q < c.noise_rank; ++q) project_terms<Products, Rows, 1>(c, row, q, scale);
}

// Adds the perturbations of a micro tile to its sums.
template <typename Products, int Rows>
inline void add_perturbations(const CallOf<Products>& c, size_t row, size_t first,
                              __m512 (&acc)[Rows][4]) {
  const int8_t* a = c.noise + row / 2 * c.noise_stride + c.noise_rank * c.in + first;
  const float* projection = c.projection + row * c.noise_rank;
  for (size_t q = 0; q < c.noise_rank; ++q, a += c.out, ++projection)
#pragma GCC unroll 3
    for (int r = 0; r < Rows; r += 2) {
      const __m512 plus = _mm512_set1_ps(projection[r * c.noise_rank]);
      const __m512 minus = r + 1 < Rows ? _mm512_set1_ps(projection[(r + 1) * c.noise_rank]) : plus;
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m512 noise = noise_as_floats(a + r / 2 * c.noise_stride + 16 * j);
        acc[r][j] = _mm512_fmadd_ps(noise, plus, acc[r][j]);
        if (r + 1 < Rows) acc[r + 1][j] = _mm512_fmadd_ps(noise, minus, acc[r + 1][j]);
      }
    }
}

template <typename Products, int Rows, bool IsPerturbed>
inline void linear_tile(const CallOf<Products>& c, size_t row, size_t first, Ahead ahead) {
  constexpr size_t kBytes = sizeof(typename Products::Element);
  __m512 acc[Rows][4];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[r][j] = _mm512_setzero_ps();
  accumulate<Products>(acc, c.x + row * c.in, kBytes * c.in, 4, c.panels + first * c.in,
                       kBytes * c.in / 4, ahead);
  if constexpr (IsPerturbed) add_perturbations<Products, Rows>(c, row, first, acc);
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) Products::store(acc[r], c.y + (row + r) * c.out + first);
}

// As in isa_avx512_linear.cpp: a tile of the first panel makes the projections of its rows beside
// the product before it, and the tiles of a panel ask for the next one together.
template <typename Products, bool IsPerturbed>
void linear_rows(const CallOf<Products>& c, float scale) {
  for (size_t first = 0; first < c.out; first += kPanel) {
    const char* next = reinterpret_cast<const char*>(c.panels + (first + kPanel) * c.in);
    const size_t panel_bytes = kPanel * c.in * sizeof(typename Products::Element);
    for_each_micro_tile(0, c.rows, [&]<int Rows>(size_t row) {
      if constexpr (IsPerturbed)
        if (first == 0) project<Products, Rows>(c, row, scale);
      linear_tile<Products, Rows, IsPerturbed>(
          c, row, first, {next + panel_bytes * row / c.rows, 4 * kPanel * Rows / c.rows});
    });
  }
}

template <typename Products>
void avx512_linear(const CallOf<Products>& c, float scale) {
  scale == 0 ? linear_rows<Products, false>(c, scale) : linear_rows<Products, true>(c, scale);
}

template <typename Products>
constexpr FloatIsa<typename Products::Element> avx512_float_isa(const char* name) {
  return {
      .name = name, .linear = avx512_linear<Products>, .product_loop = loop_of_products<Products>};
}

}  // namespace
}  // namespace eggroll::cpu
