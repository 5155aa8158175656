// The AVX-512 table (with VNNI, VBMI and VBMI2): noise, elementwise functions, the update. The
// product is in isa_avx512_linear.cpp.
#include "kernels/cpu/avx512_noise.hpp"

namespace eggroll::cpu {
namespace {

// ---- noise ----

// The groups take turns to hide the latency of the multiplications; six fill the registers.
constexpr int kGroupsTogether = 6;

template <bool Panel, int Groups>
inline void noise_groups(const PhiloxKeys& keys, const PhiloxStart* starts) {
  const __m512i m0 = _mm512_set1_epi64(kPhiloxMultiplier0);
  const __m512i m1 = _mm512_set1_epi64(kPhiloxMultiplier1);
  Philox64 group[Groups];
  unrolled<Groups>([&](auto g)
                       __attribute__((always_inline)) { group[g].start(keys, starts[g], m0, m1); });
  unrolled<kPhiloxRounds - 3>([&](auto round) __attribute__((always_inline)) {
    unrolled<Groups>([&](auto g) __attribute__((always_inline)) {
      group[g].round(keys, round + 2, m0, m1);
      group[g].keep_order();
    });
  });
  unrolled<Groups>([&](auto g) __attribute__((always_inline)) {
    const __m512i v = group[g].values(keys, m0, m1, load(kNoiseTableA), load(kNoiseTableB));
    store(starts[g].out, Panel ? transpose_dwords(v) : v);
  });
}

template <bool Panel>
void noise(NoiseRows rows) {
  const PhiloxKeys keys(rows.seed, rows.epoch);
  NoiseCursor cursor(rows, keys);
  PhiloxStart starts[kGroupsTogether];
  for (;;) {
    int count = 0;
    while (count < kGroupsTogether && cursor.more()) {
      starts[count++] = cursor.here();
      cursor.advance();
      asm volatile("" : "+r"(count));  // unrolled, this loop is slower
    }
    if (count == kGroupsTogether) {
      noise_groups<Panel, kGroupsTogether>(keys, starts);
      continue;
    }
    int done = 0;
    if (count >= 4) {
      noise_groups<Panel, 4>(keys, starts);
      done = 4;
    }
    for (; done < count; ++done) noise_groups<Panel, 1>(keys, starts + done);
    return;
  }
}

void sum_b(const BlockNoise& noise, size_t pairs, size_t in, int32_t* b_sum) {
  const auto terms = static_cast<size_t>(noise.terms);
  const size_t rows = pairs * terms;
  for (size_t row = 0; row < rows; row += 4) {
    const int8_t* b[4];
    for (size_t k = 0; k < 4; ++k) {
      const size_t at = std::min(row + k, rows - 1);
      b[k] = noise.b + at / terms * noise.stride + at % terms * in;
    }
    __m512i sums[4] = {};
    for (size_t i = 0; i < in; i += 64)
      for (size_t k = 0; k < 4; ++k) dot4(sums[k], _mm512_set1_epi8(1), load(b[k] + i));
    alignas(16) int32_t four[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(four), sums_of(sums[0], sums[1], sums[2], sums[3]));
    std::copy_n(four, std::min<size_t>(4, rows - row), b_sum + row);
  }
}

// ---- elementwise ----

inline __m512i wide32(const int8_t* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store32(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline __m512i clip16(__m512i v) {
  return _mm512_max_epi16(_mm512_min_epi16(v, _mm512_set1_epi16(127)), _mm512_set1_epi16(-127));
}
inline __m256i flip32(__m256i v) { return _mm256_xor_si256(v, _mm256_set1_epi8(-128)); }

void perturb_vector(const int8_t* p, size_t n, PerturbationScale perturbation, int8_t* v) {
  const __m512i half = _mm512_set1_epi16(static_cast<int16_t>(1 << (perturbation.shift - 1)));
  const __m128i shift = _mm_cvtsi32_si128(perturbation.shift);
  for (size_t i = 0; i < n; i += 32) {
    const __m512i parameters = wide32(p + i);
    const auto perturb = [&](__m512i z, int8_t* to) {  // at most 63 * 63
      if (perturbation.rounding == Rounding::nearest)
        z = _mm512_add_epi16(z, _mm512_add_epi16(_mm512_srai_epi16(z, 15), half));
      z = _mm512_add_epi16(parameters, _mm512_sra_epi16(z, shift));
      store32(to, _mm256_max_epi8(_mm512_cvtsepi16_epi8(z), _mm256_set1_epi8(-127)));
    };
    const __m512i z = _mm512_mullo_epi16(wide32(v + i), wide32(v + n + i));
    perturb(z, v + i);
    perturb(_mm512_sub_epi16(_mm512_setzero_si512(), z), v + n + i);
  }
}

void embed(const int8_t* row, const int32_t* a, const int8_t* b, int terms, size_t n,
           PerturbationScale perturbation, int8_t* out) {
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

// ---- update ----

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
void outer_rows(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in, int32_t* z,
                size_t z_row) {
  for (size_t p = 0; p < in; p += kPanel, w += 4 * kPanel * terms4) {
    __m512i offset[4];  // -128 * (sum of the panel's columns): x carries an offset of 128
    for (auto& o : offset) o = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(-128);
    for (size_t g = 0; g < terms4; ++g)
      for (int j = 0; j < 4; ++j) dot4(offset[j], ones, load(w + g * 4 * kPanel + 64 * j));
    for (auto& o : offset) o = _mm512_sub_epi32(_mm512_setzero_si512(), o);
    for_each_micro_tile(0, out, [&]<int Rows>(size_t row) {
      outer_tile<Rows, Add>(x + 4 * row, 4 * out, w, terms4, offset, z + row * z_row + p, z_row);
    });
  }
}

void outer(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in, bool add,
           int32_t* z, size_t z_row) {
  add ? outer_rows<true>(x, w, terms4, out, in, z, z_row)
      : outer_rows<false>(x, w, terms4, out, in, z, z_row);
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
    table.sum_b = sum_b;
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
