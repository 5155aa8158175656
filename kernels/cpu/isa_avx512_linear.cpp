// The AVX-512 table, part two: packed weights and the perturbed product. Micro tile: 6 rows x 64
// outputs in 24 accumulators, weights streamed in panels, activations broadcast four bytes at a
// time.
#include "kernels/cpu/avx512.hpp"

namespace eggroll::cpu {
namespace {

constexpr size_t panel_order(size_t position) {
  return 16 * (position / 4 % 4) + 4 * (position / 16) + position % 4;
}

// ---- perturbed product
// --------------------------------------------------------------------------------------------

// How the perturbation joins the product. fused: with one term and room in 32 bits,
// (acc + (t >> k)) >> s = ((acc << k) + t) >> (k + s), so one shift serves both and, with k + s =
// 16 (fused16), none.
enum class Width { none, fused, fused16, narrow, wide };

bool can_fuse(const LinearCall& c) {
  const uint64_t largest = (uint64_t{127} * 127 * c.w.in << c.perturbation.shift) +
                           uint64_t{127} * kNoiseMax * kNoiseMax * c.w.in +
                           (uint64_t{1} << c.perturbation.shift);
  return c.noise.terms == 1 && largest < (uint64_t{1} << 31);
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

template <Rounding R>
inline __m512i narrow_perturbation(const LinearCall& c, const int8_t* a, int row) {
  __m512i sum =
      _mm512_mullo_epi32(_mm512_cvtepi8_epi32(load16(a)), _mm512_set1_epi32(c.projection[row]));
  for (int q = 1; q < c.noise.terms; ++q)
    sum = _mm512_add_epi32(sum,
                           _mm512_mullo_epi32(_mm512_cvtepi8_epi32(load16(a + q * c.w.out)),
                                              _mm512_set1_epi32(c.projection[q * c.rows + row])));
  return round_shift32(sum, c.perturbation.shift, R);
}

template <Rounding R>
inline __m512i wide_perturbation(const LinearCall& c, const int8_t* a, int row) {
  __m512i even = _mm512_setzero_si512(), odd = even;
  for (int q = 0; q < c.noise.terms; ++q) {
    const __m512i a32 = _mm512_cvtepi8_epi32(load16(a + q * c.w.out));
    const __m512i p = _mm512_set1_epi32(c.projection[q * c.rows + row]);
    even = _mm512_add_epi64(even, _mm512_mul_epi32(a32, p));
    odd = _mm512_add_epi64(odd, _mm512_mul_epi32(_mm512_srli_epi64(a32, 32), p));
  }
  even = round_shift64(even, c.perturbation.shift, R);
  odd = round_shift64(odd, c.perturbation.shift, R);
  return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

inline __m512i clipped_bytes(__m512i w01, __m512i w23, __m512i flip) {
  return _mm512_xor_si512(_mm512_max_epi8(_mm512_packs_epi16(w01, w23), _mm512_set1_epi8(-127)),
                          flip);
}

// High halves of 32-bit sums, in the lane order of packs_epi32.
inline __m512i high_words(__m512i low, __m512i high) {
  alignas(64) static constexpr uint16_t kIndex[32] = {1,  3,  5,  7,  33, 35, 37, 39, 9,  11, 13,
                                                      15, 41, 43, 45, 47, 17, 19, 21, 23, 49, 51,
                                                      53, 55, 25, 27, 29, 31, 57, 59, 61, 63};
  return _mm512_permutex2var_epi16(low, load(kIndex), high);
}

// Rows 2 i and 2 i + 1 are a pair and share A. With HighWords k + s = 16 and the shift is a choice
// of words.
template <int Rows, Rounding R, bool HighWords>
inline void finish_fused(const LinearCall& c, int row, size_t first, __m512i (&acc)[Rows][4]) {
  const int k = c.perturbation.shift;
  const __m512i up = _mm512_set1_epi32(k);
  const __m128i down = _mm_cvtsi32_si128(k + c.shift);
  // Shifting in from here adds half of 2^k to what has been shifted up by k.
  const __m512i half = _mm512_set1_epi32(R == Rounding::nearest ? INT32_MIN : 0);
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(c.flip));
#pragma GCC unroll 3
  for (int pair = 0; pair < Rows / 2; ++pair) {
    const int8_t* a = c.noise.a + static_cast<size_t>(row / 2 + pair) * c.w.out + first;
    const __m512i p0 = _mm512_set1_epi32(c.projection[row + 2 * pair]);
    const __m512i p1 = _mm512_set1_epi32(c.projection[row + 2 * pair + 1]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i aj = _mm512_cvtepi8_epi32(load16(a + 16 * j));
#pragma GCC unroll 2
      for (int member = 0; member < 2; ++member) {
        __m512i& sum = acc[2 * pair + member][j];
        __m512i t = _mm512_mullo_epi32(aj, member == 0 ? p0 : p1);
        if constexpr (R == Rounding::nearest) t = _mm512_add_epi32(t, _mm512_srai_epi32(t, 31));
        sum = _mm512_add_epi32(_mm512_shldv_epi32(sum, half, up), t);
      }
    }
#pragma GCC unroll 2
    for (int member = 0; member < 2; ++member) {
      __m512i* sums = acc[2 * pair + member];
      __m512i w01, w23;
      if constexpr (HighWords) {
        w01 = high_words(sums[0], sums[1]);
        w23 = high_words(sums[2], sums[3]);
      } else {
        w01 = _mm512_packs_epi32(_mm512_sra_epi32(sums[0], down), _mm512_sra_epi32(sums[1], down));
        w23 = _mm512_packs_epi32(_mm512_sra_epi32(sums[2], down), _mm512_sra_epi32(sums[3], down));
      }
      store(c.y + (row + 2 * pair + member) * c.w.out + first, clipped_bytes(w01, w23, flip));
    }
  }
}

template <int Rows, Width W, Rounding R>
inline void linear_tile(const LinearCall& c, int row, const int8_t* panel, size_t first) {
  const size_t in = c.w.in;
  const uint8_t* x = c.x + row * in;
  __m512i acc[Rows][4];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[r][j] = load(c.w.compensation + first + 16 * j);
  for (size_t i = 0; i < in; i += 4, panel += 4 * kPanel) {
    const __m512i w0 = load(panel), w1 = load(panel + 64), w2 = load(panel + 128),
                  w3 = load(panel + 192);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      int32_t four;
      std::memcpy(&four, x + r * in + i, sizeof four);
      const __m512i xs = _mm512_set1_epi32(four);
      dot4(acc[r][0], xs, w0);
      dot4(acc[r][1], xs, w1);
      dot4(acc[r][2], xs, w2);
      dot4(acc[r][3], xs, w3);
    }
  }
  if constexpr (W == Width::fused || W == Width::fused16) {
    finish_fused<Rows, R, W == Width::fused16>(c, row, first, acc);
    return;
  }
  const __m128i shift = _mm_cvtsi32_si128(c.shift);
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(c.flip));
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if constexpr (W != Width::none) {
        const int8_t* a = c.noise.a + static_cast<size_t>((row + r) / 2) * c.noise.terms * c.w.out +
                          first + 16 * j;
        acc[r][j] =
            _mm512_add_epi32(acc[r][j], W == Width::wide ? wide_perturbation<R>(c, a, row + r)
                                                         : narrow_perturbation<R>(c, a, row + r));
      }
      acc[r][j] = _mm512_sra_epi32(acc[r][j], shift);
    }
    store(c.y + (row + r) * c.w.out + first,
          clipped_bytes(_mm512_packs_epi32(acc[r][0], acc[r][1]),
                        _mm512_packs_epi32(acc[r][2], acc[r][3]), flip));
  }
}

template <Width W, Rounding R>
void linear_rows(const LinearCall& c) {
  for (size_t p = 0; p < c.w.out; p += kPanel) {
    const int8_t* panel = c.w.panels + p * c.w.in;
    int row = 0;
    for (; c.rows - row >= 9 || c.rows - row == 6; row += 6) linear_tile<6, W, R>(c, row, panel, p);
    // Seven and eight rows go as 4 + 3 and 4 + 4: a tile of one or two has too few accumulators to
    // hide the latency.
    if (c.rows - row > 6) {
      linear_tile<4, W, R>(c, row, panel, p);
      row += 4;
    }
    switch (c.rows - row) {
      case 1:
        linear_tile<1, W, R>(c, row, panel, p);
        break;
      case 2:
        linear_tile<2, W, R>(c, row, panel, p);
        break;
      case 3:
        linear_tile<3, W, R>(c, row, panel, p);
        break;
      case 4:
        linear_tile<4, W, R>(c, row, panel, p);
        break;
      case 5:
        linear_tile<5, W, R>(c, row, panel, p);
        break;
      default:
        break;
    }
  }
}

// Sums of the elements of four vectors, as four dwords.
inline __m128i sums_of(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i abcd =
      _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// projection[q][row] = s * x . B_q for Pairs pairs; the two members of a pair share the loads of B.
template <int Pairs>
inline void project_pairs(const LinearCall& c, int pair, int q) {
  const size_t in = c.w.in, stride = static_cast<size_t>(c.noise.terms) * in;
  const int8_t* b = c.noise.b + pair * stride + q * in;
  const uint8_t* x = c.x + 2 * pair * in;
  __m512i plus[2] = {}, minus[2] = {};
  for (size_t i = 0; i < in; i += 64)
#pragma GCC unroll 2
    for (int k = 0; k < Pairs; ++k) {
      const __m512i bs = load(b + k * stride + i);
      dot4(plus[k], load(x + 2 * k * in + i), bs);
      dot4(minus[k], load(x + (2 * k + 1) * in + i), bs);
    }
  const int32_t first = 128 * c.noise.b_sum[pair * c.noise.terms + q];
  const int32_t second = Pairs == 2 ? 128 * c.noise.b_sum[(pair + 1) * c.noise.terms + q] : 0;
  const __m128i sums = _mm_sub_epi32(sums_of(plus[0], minus[0], plus[1], minus[1]),
                                     _mm_setr_epi32(first, first, second, second));
  const __m128i odd = _mm_setr_epi32(0, -1, 0, -1);  // two's complement: (v ^ -1) + 1 = -v
  const __m128i signed_sums = _mm_sub_epi32(_mm_xor_si128(sums, odd), odd);
  int32_t* to = c.projection + q * c.rows + 2 * pair;
  if constexpr (Pairs == 2)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), signed_sums);
  else
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), signed_sums);
}

void project(const LinearCall& c) {
  for (int q = 0; q < c.noise.terms; ++q) {
    int pair = 0;
    for (; pair + 2 <= c.rows / 2; pair += 2) project_pairs<2>(c, pair, q);
    if (pair < c.rows / 2) project_pairs<1>(c, pair, q);
  }
}

}  // namespace

namespace avx512 {

// 16 independent accumulators, more than latency times throughput of any processor that has the
// instruction.
double product_loop(uint64_t iterations) {
  __m512i a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, b0{}, b1{}, b2{}, b3{}, b4{}, b5{}, b6{},
      b7{};
  __m512i u = _mm512_set1_epi8(3), w = _mm512_set1_epi8(2);
  for (uint64_t i = 0; i < iterations; ++i) {
    for (__m512i* a : {&a0, &a1, &a2, &a3, &a4, &a5, &a6, &a7}) dot4(*a, u, w);
    for (__m512i* b : {&b0, &b1, &b2, &b3, &b4, &b5, &b6, &b7}) dot4(*b, u, w);
    asm volatile("" : "+v"(u), "+v"(w));
  }
  asm volatile("" : : "v"(a0), "v"(a1), "v"(a2), "v"(a3), "v"(a4), "v"(a5), "v"(a6), "v"(a7));
  asm volatile("" : : "v"(b0), "v"(b1), "v"(b2), "v"(b3), "v"(b4), "v"(b5), "v"(b6), "v"(b7));
  return 16 * 128.0 * static_cast<double>(iterations);
}

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
  if (c.noise.terms == 0) return linear_rows<Width::none, Rounding::floor>(c);
  project(c);
  const auto run = [&]<Rounding R>() {
    if (can_fuse(c))
      c.perturbation.shift + c.shift == 16 ? linear_rows<Width::fused16, R>(c)
                                           : linear_rows<Width::fused, R>(c);
    else
      needs_64_bits(c.w.in, c.noise.terms) ? linear_rows<Width::wide, R>(c)
                                           : linear_rows<Width::narrow, R>(c);
  };
  c.perturbation.rounding == Rounding::nearest ? run.operator()<Rounding::nearest>()
                                               : run.operator()<Rounding::floor>();
}

}  // namespace avx512
}  // namespace eggroll::cpu
