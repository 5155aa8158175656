// The end of a product in AVX-512: what the perturbation adds to the sums of a row, the shift and
// the clip. It is the same whichever instructions made the sums.
#pragma once

#include "kernels/cpu/avx512.hpp"

namespace eggroll::cpu {
namespace {

// How the perturbation joins the product. split: see can_split; two instructions for 16 outputs.
enum class Width { none, split, narrow, wide };

// Does acc >> 8 fit 16 bits? Then it is the middle bytes of acc.
bool shift_is_a_choice_of_bytes(const LinearCall& c) {
  const uint64_t largest =
      uint64_t{127} * 127 * c.w.in +
      (uint64_t{127} * kNoiseMax * kNoiseMax * c.w.in * static_cast<uint64_t>(c.noise.terms) >>
       c.perturbation.shift) +
      1;
  return c.shift == 8 && largest < (uint64_t{1} << 23);
}

inline __m512i round_shift32(__m512i v, int shift, Rounding rounding) {
  if (rounding == Rounding::nearest)
    v = _mm512_add_epi32(
        v, _mm512_add_epi32(_mm512_srai_epi32(v, 31), _mm512_set1_epi32(1 << (shift - 1))));
  return _mm512_sra_epi32(v, _mm_cvtsi32_si128(shift));
}

inline __m512i round_shift64(__m512i v, int shift, Rounding rounding) {
  if (rounding == Rounding::nearest)
    v = _mm512_add_epi64(
        v, _mm512_add_epi64(_mm512_srai_epi64(v, 63), _mm512_set1_epi64(1ll << (shift - 1))));
  return _mm512_sra_epi64(v, _mm_cvtsi32_si128(shift));
}

// SplitFactors of four rows, or two, beside each other.
inline void split_projection(__m128i p, int shift, int32_t* factors, int count) {
  const __m128i sign = _mm_srai_epi32(p, 31);
  const __m128i size = _mm_abs_epi32(p);
  const __m128i by = _mm_cvtsi32_si128(shift);
  const __m128i high = _mm_sra_epi32(size, by);
  const __m128i low = _mm_sub_epi32(size, _mm_sll_epi32(high, by));
  const __m128i first = _mm_or_si128(_mm_set1_epi32(INT16_MAX << 16 | 1),
                                     _mm_sll_epi32(low, _mm_cvtsi32_si128(15 - shift)));
  const __m128i second = _mm_sign_epi16(_mm_or_si128(_mm_slli_epi32(high, 16), _mm_set1_epi32(1)),
                                        _mm_or_si128(sign, _mm_set1_epi16(1)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(factors), _mm_unpacklo_epi32(first, second));
  if (count > 2)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(factors + 4), _mm_unpackhi_epi32(first, second));
}

// projection[q][row] = s * x . B_q for Pairs pairs, or its factors, from the products of their rows
// with B.
template <bool Split, int Pairs>
inline void finish_projections(const LinearCall& c, int pair, int q, const __m512i (&products)[4]) {
  const int32_t first = 128 * c.noise.b_sum[pair * c.noise.terms + q];
  const int32_t second = Pairs == 2 ? 128 * c.noise.b_sum[(pair + 1) * c.noise.terms + q] : 0;
  const __m128i sums = _mm_sub_epi32(sums_of(products[0], products[1], products[2], products[3]),
                                     _mm_setr_epi32(first, first, second, second));
  const __m128i odd = _mm_setr_epi32(0, -1, 0, -1);  // two's complement: (v ^ -1) + 1 = -v
  const __m128i signed_sums = _mm_sub_epi32(_mm_xor_si128(sums, odd), odd);
  int32_t* to = c.projection + q * c.rows + 2 * pair;
  if constexpr (Split)
    split_projection(signed_sums, c.perturbation.shift, c.projection + 4 * pair, 2 * Pairs);
  else if constexpr (Pairs == 2)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), signed_sums);
  else
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), signed_sums);
}

// The two members of a pair share the loads of B.
template <bool Split, int Pairs>
inline void project_pairs(const LinearCall& c, int pair, int q) {
  const size_t in = c.w.in, stride = c.noise.stride;
  const int8_t* b = c.noise.b + pair * stride + q * in;
  const uint8_t* x = c.x + 2 * pair * in;
  __m512i products[4] = {};
  for (size_t i = 0; i < in; i += 64)
#pragma GCC unroll 2
    for (int k = 0; k < Pairs; ++k) {
      const __m512i bs = load(b + k * stride + i);
      dot4(products[2 * k], load(x + 2 * k * in + i), bs);
      dot4(products[2 * k + 1], load(x + (2 * k + 1) * in + i), bs);
    }
  finish_projections<Split, Pairs>(c, pair, q, products);
}

// The projections of count rows from row on.
template <bool Split>
inline void project(const LinearCall& c, int row, int count) {
  for (int q = 0; q < c.noise.terms; ++q) {
    int pair = row / 2;
    const int end = pair + count / 2;
    for (; pair + 2 <= end; pair += 2) project_pairs<Split, 2>(c, pair, q);
    if (pair < end) project_pairs<Split, 1>(c, pair, q);
  }
}

// Adds the perturbation of one row to its sums; a: the noise of its pair for this panel.
template <Width W, Rounding R>
inline void add_perturbation(const LinearCall& c, const int8_t* a, int row, __m512i (&acc)[4]) {
  __m512i even[4] = {}, odd[4] = {};
  for (int q = 0; q < c.noise.terms; ++q) {
    alignas(64) int8_t panel[kPanel];
    store(panel, transpose_dwords(load(a + q * c.w.out)));
    const __m512i p = _mm512_set1_epi32(c.projection[q * c.rows + row]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i aj = _mm512_cvtepi8_epi32(load16(panel + 16 * j));
      if constexpr (W == Width::narrow) {
        even[j] = _mm512_add_epi32(even[j], _mm512_mullo_epi32(aj, p));
      } else {
        even[j] = _mm512_add_epi64(even[j], _mm512_mul_epi32(aj, p));
        odd[j] = _mm512_add_epi64(odd[j], _mm512_mul_epi32(_mm512_srli_epi64(aj, 32), p));
      }
    }
  }
  const int shift = c.perturbation.shift;
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i t =
        W == Width::narrow
            ? round_shift32(even[j], shift, R)
            : _mm512_mask_blend_epi32(0xAAAA, round_shift64(even[j], shift, R),
                                      _mm512_slli_epi64(round_shift64(odd[j], shift, R), 32));
    acc[j] = _mm512_add_epi32(acc[j], t);
  }
}

// What the ends of rows read again and again, from memory: g++ 12 puts constants together in
// registers, at two instructions a time.
struct EndConstants {
  uint8_t four_times[4][64];  // byte n of dword 4 L + e of [j]: e + 4 j
  uint8_t middle_bytes[64];   // of the words of two vectors, in the lane order of packs_epi32
  int8_t least[64];
};
alignas(64) inline constexpr EndConstants kEnd = [] {
  EndConstants c{};
  for (size_t n = 0; n < 64; ++n) {
    for (size_t j = 0; j < 4; ++j) c.four_times[j][n] = static_cast<uint8_t>(n / 4 % 4 + 4 * j);
    const size_t lane = n / 16, word = n % 16 / 2, byte = n % 2;
    c.middle_bytes[n] =
        static_cast<uint8_t>(64 * (word / 4) + 16 * lane + 4 * (word % 4) + byte + 1);
    c.least[n] = -127;
  }
  return c;
}();

// Rows 2 i and 2 i + 1 are a pair and share A.
template <int Rows>
inline void add_split_perturbations(const LinearCall& c, int row, size_t first,
                                    __m512i (&acc)[Rows][4]) {
  const int8_t* a = c.noise.a + static_cast<size_t>(row / 2) * c.noise.stride + first;
  const int32_t* factors = c.projection + 2 * row;
#pragma GCC unroll 3
  for (int pair = 0; pair < Rows / 2; ++pair, a += c.noise.stride, factors += 4) {
    const int r = 2 * pair;
    const __m512i as = load(a);
    const __m512i low0 = _mm512_set1_epi32(factors[0]), high0 = _mm512_set1_epi32(factors[1]);
    const __m512i low1 = _mm512_set1_epi32(factors[2]), high1 = _mm512_set1_epi32(factors[3]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      // Both words of dword 4 L + e: element 16 L + 4 j + e of a.
      const __m512i words = _mm512_srai_epi16(_mm512_shuffle_epi8(as, load(kEnd.four_times[j])), 8);
      add_words(acc[r][j], _mm512_mulhrs_epi16(words, low0), high0);
      add_words(acc[r + 1][j], _mm512_mulhrs_epi16(words, low1), high1);
    }
  }
}

// The sums of one row, shifted and clipped, to 64 bytes.
template <bool ChooseBytes>
inline void store_clipped(const __m512i (&acc)[4], int shift, __m512i flip, int8_t* to) {
  __m512i low, high;
  if constexpr (ChooseBytes) {
    low = _mm512_permutex2var_epi8(acc[0], load(kEnd.middle_bytes), acc[1]);
    high = _mm512_permutex2var_epi8(acc[2], load(kEnd.middle_bytes), acc[3]);
  } else {
    const __m128i by = _mm_cvtsi32_si128(shift);
    low = _mm512_packs_epi32(_mm512_sra_epi32(acc[0], by), _mm512_sra_epi32(acc[1], by));
    high = _mm512_packs_epi32(_mm512_sra_epi32(acc[2], by), _mm512_sra_epi32(acc[3], by));
  }
  store(to,
        _mm512_xor_si512(_mm512_max_epi8(_mm512_packs_epi16(low, high), load(kEnd.least)), flip));
}

// The end of Rows rows from row on (2 i and 2 i + 1 are a pair) at the outputs first ... first + 63.
template <int Rows, Width W, Rounding R, bool ChooseBytes>
inline void finish_rows(const LinearCall& c, int row, size_t first, __m512i (&acc)[Rows][4]) {
  if constexpr (W == Width::split) add_split_perturbations<Rows>(c, row, first, acc);
  const size_t out = c.w.out;
  const int shift = c.shift;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(c.flip));
  int8_t* y = c.y + row * out + first;
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r, y += out) {
    if constexpr (W == Width::narrow || W == Width::wide)
      add_perturbation<W, R>(
          c, c.noise.a + static_cast<size_t>((row + r) / 2) * c.noise.stride + first, row + r,
          acc[r]);
    store_clipped<ChooseBytes>(acc[r], shift, flip, y);
  }
}

// run.operator()<W, R, ChooseBytes>() for what a call needs.
template <typename Run>
void with_the_end_of(const LinearCall& c, const Run& run) {
  const auto shifted = [&]<Width W, Rounding R>() {
    shift_is_a_choice_of_bytes(c) ? run.template operator()<W, R, true>()
                                  : run.template operator()<W, R, false>();
  };
  if (c.noise.terms == 0) return shifted.template operator()<Width::none, Rounding::floor>();
  if (can_split(c)) return shifted.template operator()<Width::split, Rounding::nearest>();
  const auto rounded = [&]<Rounding R>() {
    needs_64_bits(c.w.in, c.noise.terms) ? shifted.template operator()<Width::wide, R>()
                                         : shifted.template operator()<Width::narrow, R>();
  };
  c.perturbation.rounding == Rounding::nearest ? rounded.template operator()<Rounding::nearest>()
                                               : rounded.template operator()<Rounding::floor>();
}

}  // namespace
}  // namespace eggroll::cpu
