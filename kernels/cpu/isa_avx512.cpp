// The AVX-512 table (with VNNI, VBMI and VBMI2): noise, elementwise functions, the update. The
// product is in isa_avx512_linear.cpp.
#include "kernels/cpu/avx512.hpp"

namespace eggroll::cpu {
namespace {

// ---- noise
// --------------------------------------------------------------------------------------------------------

// Philox4x32 with eight counters in the low halves of 64-bit lanes. What the high halves hold is
// rubbish: multiplications read low halves only. A round of one counter (c0, c1, c2, c3):
//   p0 = c0 M0, p1 = c2 M1; c0 = high(p1) ^ c1 ^ k0, c1 = low(p1), c2 = high(p0) ^ c3 ^ k1, c3 =
//   low(p0)
// The blocks of a tensor and pair differ in c0 alone, so that half of the first two rounds is the
// same for all of them.
struct PhiloxTensor {
  alignas(64) uint32_t k0[16], k1[16];  // the keys of the rounds
  uint32_t c2_second;                   // what high(p0) of the first round makes into c2, and
  uint32_t c0_third;                    // high(p1) of the second into c0,
  uint32_t c2_third;                    // low(p0) of the first into c2,
  uint32_t c3_third;

  explicit PhiloxTensor(const NoiseAddress& at) {
    const __m512i round = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const auto keys = [&](uint64_t key, uint32_t weyl) {
      return _mm512_add_epi32(
          _mm512_set1_epi32(static_cast<int32_t>(key)),
          _mm512_mullo_epi32(round, _mm512_set1_epi32(static_cast<int32_t>(weyl))));
    };
    store(k0, keys(at.seed, kPhiloxWeyl0));
    store(k1, keys(at.seed >> 32, kPhiloxWeyl1));
    const auto key0 = static_cast<uint32_t>(at.seed), key1 = static_cast<uint32_t>(at.seed >> 32);
    const uint64_t p1 = uint64_t{at.tensor} * kPhiloxMultiplier1;
    const uint32_t c0 = static_cast<uint32_t>(p1 >> 32) ^ at.pair ^ key0;  // after the first round
    const uint64_t p0 = uint64_t{c0} * kPhiloxMultiplier0;
    c2_second = at.epoch ^ key1;
    c0_third = static_cast<uint32_t>(p1) ^ (key0 + kPhiloxWeyl0);
    c2_third = static_cast<uint32_t>(p0 >> 32) ^ (key1 + kPhiloxWeyl1);
    c3_third = static_cast<uint32_t>(p0);
  }
};

inline __m512i high_half(__m512i product) {
  return _mm512_shuffle_epi32(product, static_cast<_MM_PERM_ENUM>(0xF5));
}
// a ^ b ^ key in every dword. The intrinsics make g++ 12 keep a vector of each key on the stack.
inline __m512i xor_key(__m512i a, __m512i b, const uint32_t& key) {
  asm("vpternlogd $0x96,%2%{1to16%},%1,%0" : "+v"(a) : "v"(b), "m"(key));
  return a;
}
inline __m512i dwords(uint32_t v) { return _mm512_set1_epi32(static_cast<int32_t>(v)); }

// 64 values a group from eight blocks each. The groups take turns to hide the latency of the
// multiplications: with eight the rate is 1.1 times that of four, although not all fit registers.
template <bool Panel, int Groups>
inline void noise_groups(const PhiloxTensor& tensor, uint32_t block, int8_t* out) {
  const __m512i m0 = _mm512_set1_epi64(kPhiloxMultiplier0);
  const __m512i m1 = _mm512_set1_epi64(kPhiloxMultiplier1);
  __m512i c0[Groups], c1[Groups], c2[Groups], c3[Groups];
#pragma GCC unroll 8
  for (int g = 0; g < Groups; ++g) {
    const __m512i counter = _mm512_add_epi32(dwords(block + 8 * static_cast<uint32_t>(g)),
                                             _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    const __m512i first = _mm512_mul_epu32(counter, m0);  // p0 of the first round
    const __m512i c2_now = _mm512_xor_si512(high_half(first), dwords(tensor.c2_second));
    const __m512i second = _mm512_mul_epu32(c2_now, m1);  // p1 of the second
    c0[g] = _mm512_xor_si512(high_half(second), dwords(tensor.c0_third));
    c1[g] = second;
    c2[g] = _mm512_xor_si512(first, dwords(tensor.c2_third));
    c3[g] = dwords(tensor.c3_third);
  }
#pragma GCC unroll 1
  for (int round = 2; round < kPhiloxRounds - 1; ++round)
#pragma GCC unroll 8
    for (int g = 0; g < Groups; ++g) {
      const __m512i p0 = _mm512_mul_epu32(c0[g], m0), p1 = _mm512_mul_epu32(c2[g], m1);
      c0[g] = xor_key(high_half(p1), c1[g], tensor.k0[round]);
      c2[g] = xor_key(high_half(p0), c3[g], tensor.k1[round]);
      c1[g] = p1;
      c3[g] = p0;
    }
  // The last round leaves word 1 : word 0 and word 3 : word 2 together, eight bytes a counter.
  constexpr __mmask16 kLowHalves = 0x5555;
  const auto words = [&](__m512i product, __m512i c, uint32_t key) {
    const __m512i swapped = _mm512_shuffle_epi32(product, static_cast<_MM_PERM_ENUM>(0xB1));
    return _mm512_mask_ternarylogic_epi32(swapped, kLowHalves, c, dwords(key), 0x96);
  };
#pragma GCC unroll 8
  for (int g = 0; g < Groups; ++g) {
    const __m512i index_a = words(_mm512_mul_epu32(c2[g], m1), c1[g], tensor.k0[kPhiloxRounds - 1]);
    const __m512i index_b = words(_mm512_mul_epu32(c0[g], m0), c3[g], tensor.k1[kPhiloxRounds - 1]);
    const __m512i v = _mm512_add_epi8(
        _mm512_permutex2var_epi8(load(kNoiseTableA), index_a, load(kNoiseTableA + 64)),
        _mm512_permutex2var_epi8(load(kNoiseTableB), index_b, load(kNoiseTableB + 64)));
    store(out + 64 * g, Panel ? transpose_dwords(v) : v);
  }
}

template <bool Panel>
void noise(const NoiseAddress& at, uint32_t first, size_t count, int8_t* out) {
  const PhiloxTensor tensor(at);
  uint32_t block = first / 8;
  const auto make = [&]<int Groups>() {
    for (; count >= 64 * Groups; count -= 64 * Groups, block += 8 * Groups, out += 64 * Groups)
      noise_groups<Panel, Groups>(tensor, block, out);
  };
  make.template operator()<8>();
  make.template operator()<4>();
  make.template operator()<1>();
}

int32_t sum(const int8_t* v, size_t n) {
  __m512i sums = _mm512_setzero_si512();
  for (size_t i = 0; i < n; i += 64) dot4(sums, _mm512_set1_epi8(1), load(v + i));
  return _mm512_reduce_add_epi32(sums);
}

// ---- elementwise
// --------------------------------------------------------------------------------------------------

inline __m512i wide32(const int8_t* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store32(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline __m512i clip16(__m512i v) {
  return _mm512_max_epi16(_mm512_min_epi16(v, _mm512_set1_epi16(127)), _mm512_set1_epi16(-127));
}
inline __m256i flip32(__m256i v) { return _mm256_xor_si256(v, _mm256_set1_epi8(-128)); }

void perturb_vector(const int8_t* p, const int8_t* v, size_t n, int sign, Perturbation perturbation,
                    int8_t* out) {
  const __m512i signs = _mm512_set1_epi16(static_cast<int16_t>(sign));
  const __m512i half = _mm512_set1_epi16(static_cast<int16_t>(1 << (perturbation.shift - 1)));
  const __m128i shift = _mm_cvtsi32_si128(perturbation.shift);
  for (size_t i = 0; i < n; i += 32) {
    __m512i z = _mm512_mullo_epi16(_mm512_mullo_epi16(wide32(v + i), wide32(v + n + i)),
                                   signs);  // at most 63 * 63
    if (perturbation.rounding == Rounding::nearest)
      z = _mm512_add_epi16(z, _mm512_add_epi16(_mm512_srai_epi16(z, 15), half));
    z = _mm512_add_epi16(wide32(p + i), _mm512_sra_epi16(z, shift));
    store32(out + i, _mm256_max_epi8(_mm512_cvtsepi16_epi8(z), _mm256_set1_epi8(-127)));
  }
}

void embed(const int8_t* row, const int32_t* a, const int8_t* b, int terms, size_t n,
           Perturbation perturbation, int8_t* out) {
  if (terms > 4) return portable_embed(row, a, b, terms, n, perturbation, out);
  // Up to four products of at most 63 * 63 fit 16 bits, half a step included.
  const __m512i half = _mm512_set1_epi16(static_cast<int16_t>(1 << (perturbation.shift - 1)));
  const __m128i shift = _mm_cvtsi32_si128(perturbation.shift);
  for (size_t i = 0; i < n; i += 32) {
    __m512i sum = _mm512_setzero_si512();
    for (int q = 0; q < terms; ++q)
      sum = _mm512_add_epi16(
          sum,
          _mm512_mullo_epi16(wide32(b + q * n + i), _mm512_set1_epi16(static_cast<int16_t>(a[q]))));
    if (perturbation.rounding == Rounding::nearest)
      sum = _mm512_add_epi16(sum, _mm512_add_epi16(_mm512_srai_epi16(sum, 15), half));
    sum = _mm512_add_epi16(wide32(row + i), _mm512_sra_epi16(sum, shift));
    store32(out + i, _mm256_max_epi8(_mm512_cvtsepi16_epi8(sum), _mm256_set1_epi8(-127)));
  }
}

void layer_norm(const int8_t* x, const int8_t* w, size_t n, int log2_n, uint8_t* out) {
  __m512i sums = _mm512_setzero_si512();
  for (size_t i = 0; i < n; i += 64)
    sums = _mm512_add_epi64(sums,
                            _mm512_sad_epu8(_mm512_abs_epi8(load(x + i)), _mm512_setzero_si512()));
  const NormDivisor d = norm_divisor(static_cast<uint32_t>(_mm512_reduce_add_epi64(sums)), log2_n);
  const __m512i zero = _mm512_setzero_si512();
  const __m512i offset = _mm512_set1_epi16(static_cast<int16_t>(128 * d.a));
  const __m512i m = _mm512_set1_epi16(static_cast<int16_t>(d.m));
  const __m128i t = _mm_cvtsi32_si128(d.t);
  const auto quotients = [&](__m512i xs, __m512i ws) {  // both 256-fold: their product is 2^16 x w
    const __m512i v = _mm512_max_epi16(_mm512_add_epi16(_mm512_mulhi_epi16(xs, ws), offset), zero);
    return _mm512_srl_epi16(_mm512_mulhi_epu16(_mm512_add_epi16(v, v), m), t);
  };
  for (size_t i = 0; i < n; i += 64) {
    const __m512i xs = load(x + i), ws = load(w + i);
    const __m512i bytes = _mm512_packus_epi16(
        quotients(_mm512_unpacklo_epi8(zero, xs), _mm512_unpacklo_epi8(zero, ws)),
        quotients(_mm512_unpackhi_epi8(zero, xs), _mm512_unpackhi_epi8(zero, ws)));
    store(out + i, _mm512_max_epu8(bytes, _mm512_set1_epi8(1)));
  }
}

void gru_forget(const int8_t* fx, const int8_t* fh, const int8_t* bias, const int8_t* h, size_t n,
                int8_t* f, uint8_t* gated) {
  for (size_t i = 0; i < n; i += 32) {
    const __m512i gate = clip16(
        _mm512_add_epi16(_mm512_add_epi16(wide32(fx + i), wide32(fh + i)), wide32(bias + i)));
    store32(f + i, _mm512_cvtepi16_epi8(gate));
    const __m512i product =
        _mm512_mullo_epi16(_mm512_add_epi16(gate, _mm512_set1_epi16(127)), wide32(h + i));
    store32(gated + i, flip32(_mm512_cvtepi16_epi8(_mm512_srai_epi16(product, 8))));
  }
}

void gru_update(const int8_t* cx, const int8_t* ch, const int8_t* bias, const int8_t* f, size_t n,
                int8_t* h, uint8_t* h_u8, int8_t* x) {
  for (size_t i = 0; i < n; i += 32) {
    const __m512i candidate = clip16(
        _mm512_add_epi16(_mm512_add_epi16(wide32(cx + i), wide32(ch + i)), wide32(bias + i)));
    const __m512i before = wide32(h + i);
    const __m512i gate = _mm512_add_epi16(wide32(f + i), _mm512_set1_epi16(127));
    // (gate * d) >> 8 as the high half of (gate << 7) * (d << 1): the product itself needs 17 bits.
    const __m512i change = _mm512_mulhi_epi16(
        _mm512_slli_epi16(gate, 7), _mm512_slli_epi16(_mm512_sub_epi16(candidate, before), 1));
    const __m512i next = _mm512_add_epi16(before, change);
    const __m256i bytes = _mm512_cvtepi16_epi8(next);
    store32(h + i, bytes);
    store32(h_u8 + i, flip32(bytes));
    store32(x + i, _mm512_cvtepi16_epi8(clip16(_mm512_add_epi16(wide32(x + i), next))));
  }
}

void add_clip(const int8_t* y, size_t n, int8_t* x) {
  for (size_t i = 0; i < n; i += 64)
    store(x + i,
          _mm512_max_epi8(_mm512_adds_epi8(load(x + i), load(y + i)), _mm512_set1_epi8(-127)));
}

uint32_t exp2_sum(const int8_t* logits) {
  const __m512i mantissas = load(kExp2Mantissa);
  __m512i sum = _mm512_setzero_si512();
  for (int i = 0; i < 256; i += 16) {
    const __m512i v =
        _mm512_add_epi32(_mm512_cvtepi8_epi32(load16(logits + i)), _mm512_set1_epi32(128));
    const __m512i shift = _mm512_sub_epi32(_mm512_set1_epi32(15), _mm512_srli_epi32(v, 4));
    sum = _mm512_add_epi32(sum, _mm512_srlv_epi32(_mm512_permutexvar_epi32(v, mantissas), shift));
  }
  return static_cast<uint32_t>(_mm512_reduce_add_epi32(sum));
}

// ---- update
// -------------------------------------------------------------------------------------------------------

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
    const __m512i ab_low = _mm512_unpacklo_epi8(v[0], v[1]),
                  ab_high = _mm512_unpackhi_epi8(v[0], v[1]);
    const __m512i cd_low = _mm512_unpacklo_epi8(v[2], v[3]),
                  cd_high = _mm512_unpackhi_epi8(v[2], v[3]);
    store(dst, _mm512_unpacklo_epi16(ab_low, cd_low));
    store(dst + 64, _mm512_unpackhi_epi16(ab_low, cd_low));
    store(dst + 128, _mm512_unpacklo_epi16(ab_high, cd_high));
    store(dst + 192, _mm512_unpackhi_epi16(ab_high, cd_high));
  }
}

template <int Rows, bool Add>
inline void outer_tile(const uint8_t* x, size_t x_group, const int8_t* w, size_t terms4,
                       const __m512i (&offset)[4], int32_t* z, size_t z_row) {
  __m512i acc[Rows][4];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[r][j] = offset[j];
  accumulate<Int8Products>(acc, x, 4, x_group, w, terms4, NothingAhead{});
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      int32_t* to = z + r * z_row + 16 * j;
      store(to, Add ? _mm512_add_epi32(load(to), acc[r][j]) : acc[r][j]);
    }
}

template <bool Add>
void outer_rows(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in,
                int32_t* z) {
  for (size_t p = 0; p < in; p += kPanel, w += 4 * kPanel * terms4) {
    __m512i offset[4];  // -128 * (sum of the panel's columns): x carries an offset of 128
    for (auto& o : offset) o = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(-128);
    for (size_t g = 0; g < terms4; ++g)
      for (int j = 0; j < 4; ++j) dot4(offset[j], ones, load(w + g * 4 * kPanel + 64 * j));
    for (auto& o : offset) o = _mm512_sub_epi32(_mm512_setzero_si512(), o);
    for_each_micro_tile(out, [&]<int Rows>(size_t row) {
      outer_tile<Rows, Add>(x + 4 * row, 4 * out, w, terms4, offset, z + row * in + p, in);
    });
  }
}

void outer(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in, bool add,
           int32_t* z) {
  add ? outer_rows<true>(x, w, terms4, out, in, z) : outer_rows<false>(x, w, terms4, out, in, z);
}

void outer_vector(const int8_t* v, int d, size_t n, int32_t* z) {
  const __m512i ds = _mm512_set1_epi32(d);
  for (size_t i = 0; i < n; i += 16) {
    const __m512i product = _mm512_mullo_epi32(_mm512_cvtepi8_epi32(load16(v + i)),
                                               _mm512_cvtepi8_epi32(load16(v + n + i)));
    store(z + i, _mm512_add_epi32(load(z + i), _mm512_mullo_epi32(product, ds)));
  }
}

}  // namespace

const Isa& isa_avx512() {
  static const Isa isa = [] {
    Isa table = portable_isa<PortableProducts>("avx512");
    table.product_loop = avx512::product_loop;
    table.pack = avx512::pack;
    table.linear = avx512::linear;
    table.noise = noise<false>;
    table.noise_panel = noise<true>;
    table.sum = sum;
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
