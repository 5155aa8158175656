// The table for AVX-512 with VNNI and VBMI. Micro tile: 6 rows x 64 outputs in 24 accumulators, weights streamed in panels,
// activations broadcast four bytes at a time.
//
// Panel order: byte 16 j + 4 L + e of a panel holds output 16 L + 4 j + e, so that packs_epi32 and packs_epi16, which work inside
// 128-bit lanes, put results back into natural order. It is a transposition of 4 x 4 dwords and its own inverse.
#include <immintrin.h>

#include "kernels/cpu/portable.hpp"

namespace eggroll::cpu {
namespace {

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }
inline void store(void* p, __m512i v) { _mm512_storeu_si512(p, v); }
inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

// acc += dot of four u8 with four s8. The intrinsic makes g++ 12 spill an array of accumulators to memory.
inline void dot4(__m512i& acc, __m512i u8, __m512i s8) { asm("vpdpbusd %2,%1,%0" : "+v"(acc) : "v"(u8), "v"(s8)); }

inline __m512i transpose_dwords(__m512i v) {
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
}

// 16 independent accumulators, more than latency times throughput of any processor that has the instruction.
double product_loop(uint64_t iterations) {
  __m512i a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, b0{}, b1{}, b2{}, b3{}, b4{}, b5{}, b6{}, b7{};
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

constexpr size_t panel_order(size_t position) {
  return 16 * (position / 4 % 4) + 4 * (position / 16) + position % 4;
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
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(16));
        for (size_t g = 0; g < 16; ++g)
          store(panels + (i / 4 + g) * 4 * kPanel + 64 * j,
                _mm512_i32gather_epi32(stride, &block[0][g], 4));
      }
    panels += in * kPanel;
  }
}

// ---- noise --------------------------------------------------------------------------------------------------------

struct PhiloxLanes {
  __m512i c0, c1, c2, c3;  // eight counters in the low halves of 64-bit lanes
};

// Groups x 8 blocks of Philox, the chains interleaved to hide the latency of the multiplications.
template <int Groups>
inline void philox(PhiloxLanes (&lanes)[Groups], uint32_t key0, uint32_t key1) {
  const __m512i m0 = _mm512_set1_epi64(kPhiloxMultiplier0);
  const __m512i m1 = _mm512_set1_epi64(kPhiloxMultiplier1);
  constexpr int kXor3 = 0x96;
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const __m512i k0 = _mm512_set1_epi64(key0);
    const __m512i k1 = _mm512_set1_epi64(key1);
    for (auto& c : lanes) {
      const __m512i p0 = _mm512_mul_epu32(c.c0, m0);
      const __m512i p1 = _mm512_mul_epu32(c.c2, m1);
      // High halves of c1 and c3 carry rubbish from here on; multiplications read low halves only.
      c.c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c.c1, k0, kXor3);
      c.c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c.c3, k1, kXor3);
      c.c1 = p1;
      c.c3 = p0;
    }
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
}

template <bool Panel, int Groups>
inline void noise_groups(const NoiseAddress& at, uint32_t block, int8_t* out) {
  const __m512i low = _mm512_set1_epi64(0xFFFFFFFF);
  PhiloxLanes lanes[Groups];
  for (int g = 0; g < Groups; ++g)
    lanes[g] = {_mm512_add_epi64(_mm512_set1_epi64(block + 8 * g), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7)),
                _mm512_set1_epi64(at.pair), _mm512_set1_epi64(at.tensor), _mm512_set1_epi64(at.epoch)};
  philox(lanes, static_cast<uint32_t>(at.seed), static_cast<uint32_t>(at.seed >> 32));
  for (int g = 0; g < Groups; ++g) {
    const auto& c = lanes[g];
    // word 1 : word 0, then word 3 : word 2, as eight bytes a counter
    const __m512i index_a = _mm512_ternarylogic_epi64(low, c.c0, _mm512_slli_epi64(c.c1, 32), 0xEA);
    const __m512i index_b = _mm512_ternarylogic_epi64(low, c.c2, _mm512_slli_epi64(c.c3, 32), 0xEA);
    const __m512i v =
        _mm512_add_epi8(_mm512_permutex2var_epi8(load(kNoiseTableA), index_a, load(kNoiseTableA + 64)),
                        _mm512_permutex2var_epi8(load(kNoiseTableB), index_b, load(kNoiseTableB + 64)));
    store(out + 64 * g, Panel ? transpose_dwords(v) : v);
  }
}

template <bool Panel>
void noise(const NoiseAddress& at, uint32_t first, size_t count, int8_t* out) {
  uint32_t block = first / 8;
  for (; count >= 256; count -= 256, block += 32, out += 256) noise_groups<Panel, 4>(at, block, out);
  if (count >= 128) {
    noise_groups<Panel, 2>(at, block, out);
    count -= 128, block += 16, out += 128;
  }
  if (count != 0) noise_groups<Panel, 1>(at, block, out);
}

// ---- perturbed product --------------------------------------------------------------------------------------------

// How the perturbation joins the product. fused: with one term and room in 32 bits,
// (acc + (t >> k)) >> s = ((acc << k) + t) >> (k + s), so one shift serves both and, with k + s = 16
// (fused16), none.
enum class Width { none, fused, fused16, narrow, wide };

bool can_fuse(const LinearCall& c) {
  const uint64_t largest = (uint64_t{127} * 127 * c.w.in << c.perturbation.shift) +
                           uint64_t{127} * kNoiseMax * kNoiseMax * c.w.in + (uint64_t{1} << c.perturbation.shift);
  return c.noise.terms == 1 && largest < (uint64_t{1} << 31);
}

inline __m512i round_shift32(__m512i v, int shift, Rounding rounding) {
  if (rounding == Rounding::nearest)
    v = _mm512_add_epi32(v, _mm512_add_epi32(_mm512_srai_epi32(v, 31), _mm512_set1_epi32(1 << (shift - 1))));
  return _mm512_sra_epi32(v, _mm_cvtsi32_si128(shift));
}

inline __m512i round_shift64(__m512i v, int shift, Rounding rounding) {
  if (rounding == Rounding::nearest)
    v = _mm512_add_epi64(v, _mm512_add_epi64(_mm512_srai_epi64(v, 63), _mm512_set1_epi64(1ll << (shift - 1))));
  return _mm512_sra_epi64(v, _mm_cvtsi32_si128(shift));
}

template <Rounding R>
inline __m512i narrow_perturbation(const LinearCall& c, const int8_t* a, int row) {
  __m512i sum = _mm512_mullo_epi32(_mm512_cvtepi8_epi32(load16(a)), _mm512_set1_epi32(c.projection[row]));
  for (int q = 1; q < c.noise.terms; ++q)
    sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(_mm512_cvtepi8_epi32(load16(a + q * c.w.out)),
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
  return _mm512_xor_si512(_mm512_max_epi8(_mm512_packs_epi16(w01, w23), _mm512_set1_epi8(-127)), flip);
}

// High halves of 32-bit sums, in the lane order of packs_epi32.
inline __m512i high_words(__m512i low, __m512i high) {
  alignas(64) static constexpr uint16_t kIndex[32] = {1,  3,  5,  7,  33, 35, 37, 39, 9,  11, 13, 15, 41, 43, 45, 47,
                                                      17, 19, 21, 23, 49, 51, 53, 55, 25, 27, 29, 31, 57, 59, 61, 63};
  return _mm512_permutex2var_epi16(low, load(kIndex), high);
}

// Rows 2 i and 2 i + 1 are a pair and share A. With HighWords k + s = 16 and the shift is a choice of words.
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
    const __m512i w0 = load(panel), w1 = load(panel + 64), w2 = load(panel + 128), w3 = load(panel + 192);
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
        const int8_t* a = c.noise.a + static_cast<size_t>((row + r) / 2) * c.noise.terms * c.w.out + first + 16 * j;
        acc[r][j] = _mm512_add_epi32(acc[r][j], W == Width::wide ? wide_perturbation<R>(c, a, row + r)
                                                                 : narrow_perturbation<R>(c, a, row + r));
      }
      acc[r][j] = _mm512_sra_epi32(acc[r][j], shift);
    }
    store(c.y + (row + r) * c.w.out + first,
          clipped_bytes(_mm512_packs_epi32(acc[r][0], acc[r][1]), _mm512_packs_epi32(acc[r][2], acc[r][3]), flip));
  }
}

template <Width W, Rounding R>
void linear_rows(const LinearCall& c) {
  for (size_t p = 0; p < c.w.out; p += kPanel) {
    const int8_t* panel = c.w.panels + p * c.w.in;
    int row = 0;
    for (; c.rows - row >= 9 || c.rows - row == 6; row += 6) linear_tile<6, W, R>(c, row, panel, p);
    // Seven and eight rows go as 4 + 3 and 4 + 4: a tile of one or two has too few accumulators to hide the latency.
    if (c.rows - row > 6) {
      linear_tile<4, W, R>(c, row, panel, p);
      row += 4;
    }
    switch (c.rows - row) {
      case 1: linear_tile<1, W, R>(c, row, panel, p); break;
      case 2: linear_tile<2, W, R>(c, row, panel, p); break;
      case 3: linear_tile<3, W, R>(c, row, panel, p); break;
      case 4: linear_tile<4, W, R>(c, row, panel, p); break;
      case 5: linear_tile<5, W, R>(c, row, panel, p); break;
      default: break;
    }
  }
}

// Sums of the elements of four vectors, as four dwords.
inline __m128i sums_of(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
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
  const __m128i sums = _mm_sub_epi32(sums_of(plus[0], minus[0], plus[1], minus[1]), _mm_setr_epi32(first, first, second, second));
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

void linear(const LinearCall& c) {
  if (c.noise.terms == 0) return linear_rows<Width::none, Rounding::floor>(c);
  project(c);
  const auto run = [&]<Rounding R>() {
    if (can_fuse(c))
      c.perturbation.shift + c.shift == 16 ? linear_rows<Width::fused16, R>(c) : linear_rows<Width::fused, R>(c);
    else
      needs_64_bits(c.w.in, c.noise.terms) ? linear_rows<Width::wide, R>(c) : linear_rows<Width::narrow, R>(c);
  };
  c.perturbation.rounding == Rounding::nearest ? run.operator()<Rounding::nearest>() : run.operator()<Rounding::floor>();
}

// ---- elementwise --------------------------------------------------------------------------------------------------

inline __m512i wide32(const int8_t* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store32(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline __m512i clip16(__m512i v) {
  return _mm512_max_epi16(_mm512_min_epi16(v, _mm512_set1_epi16(127)), _mm512_set1_epi16(-127));
}
inline __m256i flip32(__m256i v) { return _mm256_xor_si256(v, _mm256_set1_epi8(-128)); }

void perturb_vector(const int8_t* p, const int8_t* v, size_t n, int sign, Perturbation perturbation, int8_t* out) {
  const __m512i signs = _mm512_set1_epi16(static_cast<int16_t>(sign));
  const __m512i half = _mm512_set1_epi16(static_cast<int16_t>(1 << (perturbation.shift - 1)));
  const __m128i shift = _mm_cvtsi32_si128(perturbation.shift);
  for (size_t i = 0; i < n; i += 32) {
    __m512i z = _mm512_mullo_epi16(_mm512_mullo_epi16(wide32(v + i), wide32(v + n + i)), signs);  // at most 63 * 63
    if (perturbation.rounding == Rounding::nearest)
      z = _mm512_add_epi16(z, _mm512_add_epi16(_mm512_srai_epi16(z, 15), half));
    z = _mm512_add_epi16(wide32(p + i), _mm512_sra_epi16(z, shift));
    store32(out + i, _mm256_max_epi8(_mm512_cvtsepi16_epi8(z), _mm256_set1_epi8(-127)));
  }
}

void embed(const int8_t* row, const int32_t* a, const int8_t* b, int terms, size_t n, Perturbation perturbation,
           int8_t* out) {
  if (terms > 4) return portable_embed(row, a, b, terms, n, perturbation, out);
  // Up to four products of at most 63 * 63 fit 16 bits, half a step included.
  const __m512i half = _mm512_set1_epi16(static_cast<int16_t>(1 << (perturbation.shift - 1)));
  const __m128i shift = _mm_cvtsi32_si128(perturbation.shift);
  for (size_t i = 0; i < n; i += 32) {
    __m512i sum = _mm512_setzero_si512();
    for (int q = 0; q < terms; ++q)
      sum = _mm512_add_epi16(sum, _mm512_mullo_epi16(wide32(b + q * n + i), _mm512_set1_epi16(static_cast<int16_t>(a[q]))));
    if (perturbation.rounding == Rounding::nearest)
      sum = _mm512_add_epi16(sum, _mm512_add_epi16(_mm512_srai_epi16(sum, 15), half));
    sum = _mm512_add_epi16(wide32(row + i), _mm512_sra_epi16(sum, shift));
    store32(out + i, _mm256_max_epi8(_mm512_cvtsepi16_epi8(sum), _mm256_set1_epi8(-127)));
  }
}

void layer_norm(const int8_t* x, const int8_t* w, size_t n, int log2_n, uint8_t* out) {
  __m512i sums = _mm512_setzero_si512();
  for (size_t i = 0; i < n; i += 64)
    sums = _mm512_add_epi64(sums, _mm512_sad_epu8(_mm512_abs_epi8(load(x + i)), _mm512_setzero_si512()));
  const int32_t a = norm_divisor(static_cast<uint32_t>(_mm512_reduce_add_epi64(sums)), log2_n);
  // floor(v / a) = floor(v / a + 1 / (2 a)): half a grid step away from any integer, far more than the rounding errors
  // of one reciprocal and one product for |v| <= 127 * 127 and a <= 127.
  const float reciprocal = 1.0f / static_cast<float>(a);
  const __m512 scale = _mm512_set1_ps(reciprocal);
  const __m512 nudge = _mm512_set1_ps(0.5f * reciprocal);
  const __m128i lowest = _mm_set1_epi8(-127), offset = _mm_set1_epi8(-128);
  for (size_t i = 0; i < n; i += 16) {
    const __m512i product =
        _mm512_mullo_epi32(_mm512_cvtepi8_epi32(load16(x + i)), _mm512_cvtepi8_epi32(load16(w + i)));
    const __m512i quotient = _mm512_cvt_roundps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, nudge),
                                                      _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    const __m128i bytes = _mm_max_epi8(_mm512_cvtsepi32_epi8(quotient), lowest);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm_xor_si128(bytes, offset));
  }
}

void gru_forget(const int8_t* fx, const int8_t* fh, const int8_t* bias, const int8_t* h, size_t n, int8_t* f,
                uint8_t* gated) {
  for (size_t i = 0; i < n; i += 32) {
    const __m512i gate = clip16(_mm512_add_epi16(_mm512_add_epi16(wide32(fx + i), wide32(fh + i)), wide32(bias + i)));
    store32(f + i, _mm512_cvtepi16_epi8(gate));
    const __m512i product = _mm512_mullo_epi16(_mm512_add_epi16(gate, _mm512_set1_epi16(127)), wide32(h + i));
    store32(gated + i, flip32(_mm512_cvtepi16_epi8(_mm512_srai_epi16(product, 8))));
  }
}

void gru_update(const int8_t* cx, const int8_t* ch, const int8_t* bias, const int8_t* f, size_t n, int8_t* h,
                uint8_t* h_u8, int8_t* x) {
  for (size_t i = 0; i < n; i += 32) {
    const __m512i candidate =
        clip16(_mm512_add_epi16(_mm512_add_epi16(wide32(cx + i), wide32(ch + i)), wide32(bias + i)));
    const __m512i before = wide32(h + i);
    const __m512i gate = _mm512_add_epi16(wide32(f + i), _mm512_set1_epi16(127));
    // (gate * d) >> 8 as the high half of (gate << 7) * (d << 1): the product itself needs 17 bits.
    const __m512i change = _mm512_mulhi_epi16(_mm512_slli_epi16(gate, 7),
                                              _mm512_slli_epi16(_mm512_sub_epi16(candidate, before), 1));
    const __m512i next = _mm512_add_epi16(before, change);
    const __m256i bytes = _mm512_cvtepi16_epi8(next);
    store32(h + i, bytes);
    store32(h_u8 + i, flip32(bytes));
    store32(x + i, _mm512_cvtepi16_epi8(clip16(_mm512_add_epi16(wide32(x + i), next))));
  }
}

void add_clip(const int8_t* y, size_t n, int8_t* x) {
  for (size_t i = 0; i < n; i += 64)
    store(x + i, _mm512_max_epi8(_mm512_adds_epi8(load(x + i), load(y + i)), _mm512_set1_epi8(-127)));
}

uint32_t exp2_sum(const int8_t* logits) {
  const __m512i mantissas = load(kExp2Mantissa);
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < 256; i += 16) {
    const __m512i v = _mm512_add_epi32(_mm512_cvtepi8_epi32(load16(logits + i)), _mm512_set1_epi32(128));
    const __m512i shift = _mm512_sub_epi32(_mm512_set1_epi32(15), _mm512_srli_epi32(v, 4));
    sum = _mm512_add_epi32(sum, _mm512_srlv_epi32(_mm512_permutexvar_epi32(v, mantissas), shift));
  }
  return static_cast<uint32_t>(_mm512_reduce_add_epi32(sum));
}

// ---- update -------------------------------------------------------------------------------------------------------

inline __m512i times(__m512i v, int8_t d) {
  if (d == 2 || d == -2) v = _mm512_add_epi8(v, v);
  if (d == 0) return _mm512_setzero_si512();
  return d < 0 ? _mm512_sub_epi8(_mm512_setzero_si512(), v) : v;
}

void interleave(const int8_t* const src[4], const int8_t d[4], size_t n, uint8_t flip, int8_t* dst,
                size_t group_stride) {
  const __m512i flips = _mm512_set1_epi8(static_cast<char>(flip));
  for (size_t i = 0; i < n; i += kPanel, dst += group_stride) {
    __m512i v[4];
    for (int q = 0; q < 4; ++q) v[q] = _mm512_xor_si512(times(load(src[q] + i), d[q]), flips);
    // Unpacking works inside 128-bit lanes: from panel order it leads to natural order.
    const __m512i ab_low = _mm512_unpacklo_epi8(v[0], v[1]), ab_high = _mm512_unpackhi_epi8(v[0], v[1]);
    const __m512i cd_low = _mm512_unpacklo_epi8(v[2], v[3]), cd_high = _mm512_unpackhi_epi8(v[2], v[3]);
    store(dst, _mm512_unpacklo_epi16(ab_low, cd_low));
    store(dst + 64, _mm512_unpackhi_epi16(ab_low, cd_low));
    store(dst + 128, _mm512_unpacklo_epi16(ab_high, cd_high));
    store(dst + 192, _mm512_unpackhi_epi16(ab_high, cd_high));
  }
}

template <int Rows>
inline void outer_tile(const uint8_t* x, size_t x_group, const int8_t* w, size_t terms4, const __m512i (&offset)[4],
                       int32_t* z, size_t z_row) {
  __m512i acc[Rows][4];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[r][j] = offset[j];
  for (size_t g = 0; g < terms4; ++g, w += 4 * kPanel, x += x_group) {
    const __m512i w0 = load(w), w1 = load(w + 64), w2 = load(w + 128), w3 = load(w + 192);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      int32_t four;
      std::memcpy(&four, x + 4 * r, sizeof four);
      const __m512i xs = _mm512_set1_epi32(four);
      dot4(acc[r][0], xs, w0);
      dot4(acc[r][1], xs, w1);
      dot4(acc[r][2], xs, w2);
      dot4(acc[r][3], xs, w3);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      int32_t* to = z + r * z_row + 16 * j;
      store(to, _mm512_add_epi32(load(to), acc[r][j]));
    }
}

void outer(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in, int32_t* z) {
  for (size_t p = 0; p < in; p += kPanel, w += 4 * kPanel * terms4) {
    __m512i offset[4];  // -128 * (sum of the panel's columns): x carries an offset of 128
    for (auto& o : offset) o = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(-128);
    for (size_t g = 0; g < terms4; ++g)
      for (int j = 0; j < 4; ++j) dot4(offset[j], ones, load(w + g * 4 * kPanel + 64 * j));
    for (auto& o : offset) o = _mm512_sub_epi32(_mm512_setzero_si512(), o);
    size_t row = 0;
    for (; row + kRows <= out; row += kRows)
      outer_tile<6>(x + 4 * row, 4 * out, w, terms4, offset, z + row * in + p, in);
    switch (out - row) {
      case 1: outer_tile<1>(x + 4 * row, 4 * out, w, terms4, offset, z + row * in + p, in); break;
      case 2: outer_tile<2>(x + 4 * row, 4 * out, w, terms4, offset, z + row * in + p, in); break;
      case 3: outer_tile<3>(x + 4 * row, 4 * out, w, terms4, offset, z + row * in + p, in); break;
      case 4: outer_tile<4>(x + 4 * row, 4 * out, w, terms4, offset, z + row * in + p, in); break;
      case 5: outer_tile<5>(x + 4 * row, 4 * out, w, terms4, offset, z + row * in + p, in); break;
      default: break;
    }
  }
}

void outer_vector(const int8_t* v, int d, size_t n, int32_t* z) {
  const __m512i ds = _mm512_set1_epi32(d);
  for (size_t i = 0; i < n; i += 16) {
    const __m512i product =
        _mm512_mullo_epi32(_mm512_cvtepi8_epi32(load16(v + i)), _mm512_cvtepi8_epi32(load16(v + n + i)));
    store(z + i, _mm512_add_epi32(load(z + i), _mm512_mullo_epi32(product, ds)));
  }
}

}  // namespace

const Isa& isa_avx512() {
  static const Isa isa = [] {
    Isa table = portable_isa<PortableProducts>("avx512");
    table.product_loop = product_loop;
    table.pack = pack;
    table.linear = linear;
    table.noise = noise<false>;
    table.noise_panel = noise<true>;
    table.perturb_vector = perturb_vector;
    table.embed = embed;
    table.layer_norm = layer_norm;
    table.gru_forget = gru_forget;
    table.gru_update = gru_update;
    table.add_clip = add_clip;
    table.exp2_sum = exp2_sum;
    table.interleave = interleave;
    table.outer = outer;
    table.outer_vector = outer_vector;
    return table;
  }();
  return isa;
}

}  // namespace eggroll::cpu
