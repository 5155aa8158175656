// The layer of perturbed_linear.hpp in AVX-512, over the micro kernel that int8 has too. What a
// Products has to have here beside what avx512_micro_kernel.hpp says:
//
//   Element, kInputs  of x, W and y; how many of them a vector holds
//   noise             kInputs elements of noise as a vector of Element, exactly
//   store             the first so many of the sums of a row, in vectors, to y, rounded once
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

// The sixteen numbers of vector j of a panel that are among the first so many of it.
inline __mmask16 mask_of(size_t outputs, size_t j) {
  const size_t before = 16 * j;
  return outputs >= before + 16 ? 0xFFFF
         : outputs <= before    ? 0
                                : static_cast<__mmask16>((1u << (outputs - before)) - 1);
}

// The sum of a vector, in the order of sums_of().
inline float sum_of(__m512 v) { return _mm_cvtss_f32(sums_of(v, v, v, v)); }

// Where rows 2 i and 2 i + 1 are the members of a pair, what is read of its noise serves both.
enum class Noisy { no, in_pairs, as_they_come };
template <Noisy kRows>
constexpr bool reads_noise(int r) {
  return kRows == Noisy::as_they_come || r % 2 == 0;
}

// projection[row][q] = scale x . B_q of Count rows, for Terms terms: 1 or 4.
template <typename Products, Noisy kRows, int Count, int Terms>
inline void project_terms(const CallOf<Products>& c, size_t row, size_t q) {
  constexpr size_t kGroup = 4 / sizeof(typename Products::Element);
  const auto* x = c.x + row * c.in;
  const NoisyRow* of_row = c.noise + row;
  const size_t run = noise_run(c.in);
  __m512 sum[Count][Terms] = {};
  const auto add = [&](size_t i, __mmask16 groups) __attribute__((always_inline)) {
    __m512i noise[Terms];
#pragma GCC unroll 6
    for (int r = 0; r < Count; ++r) {
      const __m512i inputs = _mm512_maskz_loadu_epi32(groups, x + r * c.in + i);
#pragma GCC unroll 4
      for (int t = 0; t < Terms; ++t) {
        if (reads_noise<kRows>(r))
          noise[t] = Products::noise(of_row[r].elements + (q + t) * run + i);
        Products::add(sum[r][t], inputs, noise[t]);
      }
    }
  };
  size_t i = 0;
  for (; i + Products::kInputs <= c.in; i += Products::kInputs) add(i, 0xFFFF);
  if (i < c.in) add(i, static_cast<__mmask16>((1u << ((c.in - i) / kGroup)) - 1));
#pragma GCC unroll 6
  for (int r = 0; r < Count; ++r) {
    float* to = c.projection + (row + r) * c.noise_rank + q;
    const float scale = of_row[r].scale;
    if constexpr (Terms == 4)
      _mm_storeu_ps(
          to, _mm_mul_ps(_mm_set1_ps(scale), sums_of(sum[r][0], sum[r][1], sum[r][2], sum[r][3])));
    else
      *to = scale * sum_of(sum[r][0]);
  }
}

// Not inlined: it happens once in a call and row, and would take registers from the micro kernel.
template <typename Products, Noisy kRows, int Count>
[[gnu::noinline]] void project(const CallOf<Products>& c, size_t row) {
  size_t q = 0;
  for (; q + 4 <= c.noise_rank; q += 4) project_terms<Products, kRows, Count, 4>(c, row, q);
  for (; q < c.noise_rank; ++q) project_terms<Products, kRows, Count, 1>(c, row, q);
}

// Adds the perturbations of a micro tile to its sums.
template <typename Products, Noisy kRows, int Count, int Vectors>
inline void add_perturbations(const CallOf<Products>& c, size_t row, size_t first,
                              __m512 (&acc)[Count][Vectors]) {
  const NoisyRow* of_row = c.noise + row;
  const float* projection = c.projection + row * c.noise_rank;
  size_t at = c.noise_rank * noise_run(c.in) + first;
  for (size_t q = 0; q < c.noise_rank; ++q, at += noise_run(c.out)) {
    __m512 noise[Vectors];
#pragma GCC unroll 12
    for (int r = 0; r < Count; ++r) {
      const __m512 p = _mm512_set1_ps(projection[r * c.noise_rank + q]);
#pragma GCC unroll 4
      for (int j = 0; j < Vectors; ++j) {
        if (reads_noise<kRows>(r)) noise[j] = noise_as_floats(of_row[r].elements + at + 16 * j);
        acc[r][j] = _mm512_fmadd_ps(noise[j], p, acc[r][j]);
      }
    }
  }
}

// The first 16 Vectors outputs of a panel, or as many of them as there are.
template <typename Products, Noisy kRows, int Count, int Vectors>
inline void linear_tile(const CallOf<Products>& c, size_t row, size_t first, Ahead ahead) {
  constexpr size_t kBytes = sizeof(typename Products::Element);
  const size_t outputs = c.out - first < kPanel ? c.out - first : kPanel;
  __m512 acc[Count][Vectors];
#pragma GCC unroll 12
  for (int r = 0; r < Count; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) acc[r][j] = _mm512_setzero_ps();
  accumulate<Products>(acc, c.x + row * c.in, kBytes * c.in, 4, c.panels + first * c.in,
                       kBytes * c.in / 4, ahead);
  if constexpr (kRows != Noisy::no)
    add_perturbations<Products, kRows, Count, Vectors>(c, row, first, acc);
#pragma GCC unroll 12
  for (int r = 0; r < Count; ++r) Products::store(acc[r], c.y + (row + r) * c.out + first, outputs);
}

// tile.operator()<Rows>(row) as for_each_micro_tile(), but with rows enough to hide the latency where
// a tile is of one vector.
template <int Vectors, typename Tile>
inline void for_each_tile_of(size_t rows, const Tile& tile) {
  size_t row = 0;
  if constexpr (Vectors == 1)
    for (; rows - row >= 12; row += 12) tile.template operator()<12>(row);
  for_each_micro_tile(row, rows, tile);
}

// As in isa_avx512_linear.cpp: a tile of the first panel makes the projections of its rows beside
// the product before it, and the tiles of a panel ask for the next one together.
template <typename Products, Noisy kRows, int Vectors>
void linear_panel(const CallOf<Products>& c, size_t first) {
  const char* next = reinterpret_cast<const char*>(c.panels + (first + kPanel) * c.in);
  const size_t panel_bytes = kPanel * c.in * sizeof(typename Products::Element);
  for_each_tile_of<Vectors>(c.rows, [&]<int Count>(size_t row) {
    if constexpr (kRows != Noisy::no)
      if (first == 0) {
        if constexpr (Count > 6) {
          project<Products, kRows, 6>(c, row);
          project<Products, kRows, Count - 6>(c, row + 6);
        } else {
          project<Products, kRows, Count>(c, row);
        }
      }
    linear_tile<Products, kRows, Count, Vectors>(
        c, row, first, {next + panel_bytes * row / c.rows, 4 * kPanel * Count / c.rows});
  });
}

template <typename Products, Noisy kRows>
void linear_rows(const CallOf<Products>& c) {
  for (size_t first = 0; first < c.out; first += kPanel) {
    const size_t outputs = c.out - first;
    if (outputs <= 16)
      linear_panel<Products, kRows, 1>(c, first);
    else if (outputs <= 32)
      linear_panel<Products, kRows, 2>(c, first);
    else
      linear_panel<Products, kRows, 4>(c, first);
  }
}

template <typename Products>
void avx512_linear(const CallOf<Products>& c) {
  if (c.noise == nullptr) return linear_rows<Products, Noisy::no>(c);
  bool are_pairs = true;
  for (size_t row = 1; row < c.rows; row += 2)
    are_pairs = are_pairs && c.noise[row].elements == c.noise[row - 1].elements;
  are_pairs ? linear_rows<Products, Noisy::in_pairs>(c)
            : linear_rows<Products, Noisy::as_they_come>(c);
}

template <typename Products>
constexpr FloatIsa<typename Products::Element> avx512_float_isa(const char* name) {
  return {
      .name = name, .linear = avx512_linear<Products>, .product_loop = loop_of_products<Products>};
}

}  // namespace
}  // namespace eggroll::cpu
