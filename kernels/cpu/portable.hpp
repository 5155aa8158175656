// Every function of the Isa table in plain C++, for the compiler to vectorise with the flags of the
// file that includes it. Everything has internal linkage: the same text compiled for two
// instruction sets must never be merged by the linker. Panel order here is natural order. A file
// with a better product gives its own Products; see products() below.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/cpu/isa.hpp"
#include "kernels/fixed_point.hpp"
#include "kernels/optimizers/sigma_delta.hpp"
#include "kernels/optimizers/threshold.hpp"

namespace eggroll::cpu {
namespace {

constexpr int kRows = 6;  // rows of one micro tile

struct PortableProducts {
  // acc[r][o] += sum_k (x[r, k] - offset) * w[o, k] over the 64 outputs of a panel and 4 * in4
  // inputs; x rows x_row bytes apart, groups of four inputs x_group bytes apart.
  // start: what makes up for an offset other than 128, -(128 - offset) * sum_k w[o, k].
  static void start(const int8_t*, size_t, int32_t* sums) { std::fill_n(sums, kPanel, 0); }
  // sum_i (x_i - 128) b_i; b_sum = sum_i b_i.
  static int32_t project(const uint8_t* x, const int8_t* b, size_t n, int32_t) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; ++i) sum += (x[i] - 128) * b[i];
    return sum;
  }
  // Whether finish_row() can make y of 64 outputs of one row from its sums; the projection of a row
  // is then its SplitFactors.
  static bool can_finish(const LinearCall&) { return false; }
  static void finish_row(const LinearCall&, int, size_t, const int32_t*) {}
  static void products(const uint8_t* x, size_t x_row, size_t x_group, int rows,
                       const int8_t* panel, size_t in4, int32_t (*acc)[kPanel]) {
    for (int r = 0; r < rows; ++r) {
      for (size_t g = 0; g < in4; ++g) {
        const uint8_t* xs = x + r * x_row + g * x_group;
        const int32_t x0 = xs[0] - 128, x1 = xs[1] - 128, x2 = xs[2] - 128, x3 = xs[3] - 128;
        const int8_t* w = panel + g * 4 * kPanel;
        for (size_t o = 0; o < kPanel; ++o)
          acc[r][o] += x0 * w[4 * o] + x1 * w[4 * o + 1] + x2 * w[4 * o + 2] + x3 * w[4 * o + 3];
      }
    }
  }
};

// Without vector instructions of its own a table has no better ceiling than the product itself, on
// data in the nearest cache.
template <typename Products>
double portable_product_loop(uint64_t iterations) {
  constexpr size_t kIn4 = 16;
  static uint8_t x[kRows * 4 * kIn4];
  static int8_t panel[kPanel * 4 * kIn4];
  int32_t acc[kRows][kPanel] = {};
  for (uint64_t i = 0; i < iterations; ++i) {
    Products::products(x, 4 * kIn4, 4, kRows, panel, kIn4, acc);
    asm volatile("" : : "r"(acc), "r"(x), "r"(panel) : "memory");
  }
  return 2.0 * kRows * kPanel * 4 * kIn4 * static_cast<double>(iterations);
}

template <typename Products>
void portable_pack(const int8_t* w, size_t out, size_t in, int8_t* panels, int32_t* compensation) {
  for (size_t p = 0; p < out; p += kPanel, panels += kPanel * in) {
    for (size_t g = 0; g < in / 4; ++g)
      for (size_t o = 0; o < kPanel; ++o)
        std::memcpy(panels + 4 * (g * kPanel + o), w + (p + o) * in + 4 * g, 4);
    Products::start(panels, in / 4, compensation + p);
  }
}

// A perturbation t = p a of one term can be split at bit k of |p| = high 2^k + low:
//   round(t / 2^k) = s high a + s round(low a / 2^k), s the sign of p.
// vpmulhrsw, (v w + 2^14) >> 15, makes the second part and leaves a as it is: of the words [a, a]
// and [low 2^(15 - k) + 1, 32767]. As |a| <= 63 < 2^(15 - k), the 1 decides ties alone, away from
// zero. A product of words with [s, s high], vpdpwssd or vpmaddwd, adds up both.
struct SplitFactors {
  int32_t first, second;
};

[[maybe_unused]] bool can_split(const LinearCall& c) {
  const int k = c.perturbation.shift;
  return c.noise.terms == 1 && c.perturbation.rounding == Rounding::nearest && k <= 9 &&
         (uint64_t{127} * kNoiseMax * c.w.in >> k) <= INT16_MAX;
}

[[maybe_unused]] SplitFactors split_projection(int32_t p, int shift) {
  const uint32_t size = static_cast<uint32_t>(p < 0 ? -p : p);
  const uint32_t high = size >> shift, low = size - (high << shift);
  const uint32_t sign = p < 0 ? 0xFFFFu : 1u;
  return {static_cast<int32_t>(uint32_t{INT16_MAX} << 16 | low << (15 - shift) | 1),
          static_cast<int32_t>((p < 0 ? 0 - high : high) << 16 | sign)};
}

template <typename Products>
void portable_project(const LinearCall& c, bool split) {
  const size_t in = c.w.in;
  for (int r = 0; r < c.rows; ++r)
    for (int q = 0; q < c.noise.terms; ++q) {
      const int8_t* b = c.noise.b + static_cast<size_t>(r / 2) * c.noise.stride + q * in;
      const int32_t sum =
          Products::project(c.x + r * in, b, in, c.noise.b_sum[r / 2 * c.noise.terms + q]);
      const int32_t p = r & 1 ? -sum : sum;
      if (!split) {
        c.projection[q * c.rows + r] = p;
        continue;
      }
      const SplitFactors factors = split_projection(p, c.perturbation.shift);
      c.projection[2 * r] = factors.first;
      c.projection[2 * r + 1] = factors.second;
    }
}

template <typename Sum>
void portable_finish_row(const LinearCall& c, int row, size_t first, const int32_t* acc) {
  int8_t* y = c.y + row * c.w.out + first;
  Sum sum[kPanel] = {};
  for (int q = 0; q < c.noise.terms; ++q) {
    const Sum p = c.projection[q * c.rows + row];
    const int8_t* a =
        c.noise.a + static_cast<size_t>(row / 2) * c.noise.stride + q * c.w.out + first;
    for (size_t o = 0; o < kPanel; ++o) sum[o] += p * a[o];
  }
  for (size_t o = 0; o < kPanel; ++o) {
    const int32_t perturbation =
        static_cast<int32_t>(round_shift(sum[o], c.perturbation.shift, c.perturbation.rounding));
    const int32_t v = clip8((acc[o] + perturbation) >> c.shift);
    y[o] = static_cast<int8_t>(static_cast<uint8_t>(v) ^ c.flip);
  }
}

template <typename Products>
void portable_linear(const LinearCall& c) {
  const bool finishes = Products::can_finish(c);
  portable_project<Products>(c, finishes);
  const bool wide = needs_64_bits(c.w.in, c.noise.terms);
  for (size_t p = 0; p < c.w.out; p += kPanel)
    for (int row = 0; row < c.rows; row += kRows) {
      const int rows = c.rows - row < kRows ? c.rows - row : kRows;
      int32_t acc[kRows][kPanel];
      for (int r = 0; r < rows; ++r) std::copy_n(c.w.compensation + p, kPanel, acc[r]);
      Products::products(c.x + row * c.w.in, c.w.in, 4, rows, c.w.panels + p * c.w.in, c.w.in / 4,
                         acc);
      for (int r = 0; r < rows; ++r) {
        if (finishes)
          Products::finish_row(c, row + r, p, acc[r]);
        else if (wide)
          portable_finish_row<int64_t>(c, row + r, p, acc[r]);
        else
          portable_finish_row<int32_t>(c, row + r, p, acc[r]);
      }
    }
}

[[maybe_unused]] void portable_noise(NoiseRows rows) {
  for (; rows.next != rows.end; ++rows.next, rows.made = 0) {
    const NoiseRow& row = *rows.next;
    const NoiseAddress at{rows.seed, rows.epoch, row.tensor, row.pair};
    for (uint32_t e = rows.made; e < row.count; e += 8) {
      const PhiloxBlock block = noise_block(at, (row.first + e) / 8);
      for (int lane = 0; lane < 8; ++lane) row.out[e + lane] = noise_of_block(block, lane);
    }
  }
}

[[maybe_unused]] void portable_sum_b(const BlockNoise& noise, size_t pairs, size_t in,
                                     int32_t* b_sum) {
  for (size_t pair = 0; pair < pairs; ++pair)
    for (int q = 0; q < noise.terms; ++q) {
      const int8_t* b = noise.b + pair * noise.stride + q * in;
      int32_t sum = 0;
      for (size_t i = 0; i < in; ++i) sum += b[i];
      *b_sum++ = sum;
    }
}

[[maybe_unused]] void portable_perturb_vector(const int8_t* p, size_t n,
                                              PerturbationScale perturbation, int8_t* v) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t z = v[i] * v[n + i];
    const auto perturbed = [&](int32_t sz) {
      return static_cast<int8_t>(
          clip8(p[i] + round_shift(sz, perturbation.shift, perturbation.rounding)));
    };
    v[i] = perturbed(z);
    v[n + i] = perturbed(-z);
  }
}

[[maybe_unused]] void portable_embed(const int8_t* row, const int32_t* a, const int8_t* b,
                                     int terms, size_t n, PerturbationScale perturbation,
                                     int8_t* out) {
  for (size_t i = 0; i < n; ++i) {
    int32_t sum = 0;
    for (int q = 0; q < terms; ++q) sum += a[q] * b[q * n + i];
    out[i] = static_cast<int8_t>(
        clip8(row[i] + round_shift(sum, perturbation.shift, perturbation.rounding)));
  }
}

// Division of a layer norm by a = 1 ... 127 without a division: floor(u / a) = ((2 u m) >> 16) >> t
// for 0 <= u < 2^15, with t = ceil(log2 a) and m = ceil(2^(15 + t) / a) < 2^16. Exact, as
// u (m a - 2^(15 + t)) < 2^15 a <= 2^(15 + t).
struct NormDivisor {
  uint16_t a, m, t;
};
[[maybe_unused]] NormDivisor norm_divisor(uint32_t magnitude, int log2_n) {
  static constexpr auto kDivisors = [] {
    std::array<NormDivisor, 128> divisors{};
    for (uint32_t a = 1; a < 128; ++a) {
      uint32_t t = 0;
      while ((1u << t) < a) ++t;
      divisors[a] = {static_cast<uint16_t>(a),
                     static_cast<uint16_t>(((1u << (15 + t)) + a - 1) / a),
                     static_cast<uint16_t>(t)};
    }
    divisors[0] = divisors[1];  // a norm of nearly nothing divides by one
    return divisors;
  }();
  return kDivisors[magnitude >> log2_n];
}

[[maybe_unused]] void portable_layer_norm(const int8_t* x, const int8_t* w, size_t n, int log2_n,
                                          uint8_t* out) {
  uint32_t magnitude = 0;
  for (size_t i = 0; i < n; ++i) magnitude += static_cast<uint32_t>(x[i] < 0 ? -x[i] : x[i]);
  const NormDivisor d = norm_divisor(magnitude, log2_n);
  for (size_t i = 0; i < n; ++i) {
    // floor(v / a) + 128 = floor((v + 128 a) / a), from 1 to 255 where it is not clipped
    const int32_t v = x[i] * w[i] + 128 * d.a;
    const uint32_t doubled = 2 * static_cast<uint32_t>(v < 0 ? 0 : v);
    const uint32_t quotient = ((doubled * d.m) >> 16) >> d.t;
    out[i] = static_cast<uint8_t>(quotient < 1 ? 1 : quotient > 255 ? 255 : quotient);
  }
}

[[maybe_unused]] void portable_gru_forget(const int8_t* fx, const int8_t* fh, const int8_t* bias,
                                          const int8_t* h, size_t n, int8_t* f, uint8_t* gated) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t gate = clip8(fx[i] + fh[i] + bias[i]);
    f[i] = static_cast<int8_t>(gate);
    gated[i] = static_cast<uint8_t>(((gate + 127) * h[i]) >> 8) ^ 0x80;
  }
}

[[maybe_unused]] void portable_gru_update(const int8_t* __restrict cx, const int8_t* __restrict ch,
                                          const int8_t* __restrict bias, const int8_t* __restrict f,
                                          size_t n, int8_t* __restrict h, uint8_t* __restrict h_u8,
                                          int8_t* __restrict x) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t candidate = clip8(cx[i] + ch[i] + bias[i]);
    const int32_t next = h[i] + (((f[i] + 127) * (candidate - h[i])) >> 8);
    h[i] = static_cast<int8_t>(next);
    h_u8[i] = static_cast<uint8_t>(next) ^ 0x80;
    x[i] = static_cast<int8_t>(clip8(x[i] + next));
  }
}

[[maybe_unused]] void portable_add_clip(const int8_t* y, size_t n, int8_t* x) {
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<int8_t>(clip8(x[i] + y[i]));
}

[[maybe_unused]] uint32_t portable_exp2_sum(const int8_t* logits) {
  uint32_t sum = 0;
  for (int k = 0; k < 256; ++k) sum += exp2_fixed(static_cast<uint8_t>(logits[k]) ^ 0x80u);
  return sum;
}

[[maybe_unused]] void portable_interleave(const int8_t* const src[4], const int8_t d[4], size_t n,
                                          uint8_t flip, int8_t* dst, size_t group_stride) {
  for (size_t g = 0; g < n; g += kPanel, dst += group_stride)
    for (size_t i = 0; i < kPanel; ++i)
      for (int q = 0; q < 4; ++q)
        dst[4 * i + q] = static_cast<int8_t>(static_cast<uint8_t>(d[q] * src[q][g + i]) ^ flip);
}

template <typename Products>
void portable_outer(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in,
                    bool add, int32_t* z, size_t z_row) {
  for (size_t p = 0; p < in; p += kPanel) {
    int32_t start[kPanel];
    Products::start(w + p * 4 * terms4, terms4, start);
    for (size_t row = 0; row < out; row += kRows) {
      const int rows = static_cast<int>(out - row < kRows ? out - row : kRows);
      int32_t acc[kRows][kPanel];
      for (int r = 0; r < rows; ++r) std::copy_n(start, kPanel, acc[r]);
      Products::products(x + 4 * row, 4, 4 * out, rows, w + p * 4 * terms4, terms4, acc);
      for (int r = 0; r < rows; ++r)
        for (size_t o = 0; o < kPanel; ++o) {
          int32_t& to = z[(row + r) * z_row + p + o];
          const uint32_t before = add ? static_cast<uint32_t>(to) : 0;
          to = static_cast<int32_t>(static_cast<uint32_t>(acc[r][o]) + before);
        }
    }
  }
}

[[maybe_unused]] void portable_outer_vector(const int8_t* v, int d, size_t n, int32_t* z) {
  for (size_t i = 0; i < n; ++i) z[i] += d * v[i] * v[n + i];
}

[[maybe_unused]] void portable_add_full(const int8_t* v, int d, size_t n, int32_t* z) {
  for (size_t i = 0; i < n; ++i) z[i] += d * v[i];
}

[[maybe_unused]] uint64_t portable_step_threshold(const int32_t* z, int64_t threshold, size_t n,
                                                  int8_t* parameters) {
  uint64_t changed = 0;
  for (size_t i = 0; i < n; ++i) changed += Threshold::step(z[i], {threshold}, parameters[i]);
  return changed;
}

[[maybe_unused]] uint64_t portable_step_sigma_delta(const int32_t* z, int64_t threshold, size_t n,
                                                    int32_t* accumulators, int8_t* parameters) {
  uint64_t changed = 0;
  constexpr size_t kBlock = 256;
  for (size_t first = 0; first < n; first += kBlock) {
    const size_t count = n - first < kBlock ? n - first : kBlock;
    const int32_t* zs = z + first;
    int32_t* ms = accumulators + first;
    int8_t* ps = parameters + first;
    // Nearly always no element moves by more than three, and 32 bits hold everything: then there is
    // nothing to divide. The accumulators are looked at too: a threshold that has shrunk since may
    // lie below them.
    constexpr uint32_t kSmall = 1u << 29;
    uint32_t largest_z = 0, largest_m = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t size_z =
          zs[i] < 0 ? 0u - static_cast<uint32_t>(zs[i]) : static_cast<uint32_t>(zs[i]);
      const uint32_t size_m =
          ms[i] < 0 ? 0u - static_cast<uint32_t>(ms[i]) : static_cast<uint32_t>(ms[i]);
      largest_z = largest_z > size_z ? largest_z : size_z;
      largest_m = largest_m > size_m ? largest_m : size_m;
    }
    if (threshold >= kSmall || largest_z >= kSmall || largest_m >= kSmall ||
        int64_t{largest_z} + largest_m >= 4 * threshold) {
      for (size_t i = 0; i < count; ++i)
        changed += SigmaDelta::step(zs[i], {threshold}, ps[i], ms[i]);
      continue;
    }
    const int32_t t1 = static_cast<int32_t>(threshold);
    uint32_t moved = 0;
    for (size_t i = 0; i < count; ++i) {
      const int32_t sum = ms[i] + zs[i];
      const int32_t size = sum < 0 ? -sum : sum;
      const int32_t steps = (size >= t1) + (size - t1 >= t1) + (size - t1 - t1 >= t1);
      const int32_t move = sum < 0 ? -steps : steps;
      ms[i] = sum - move * t1;
      const int32_t next = clip8(ps[i] + move);
      moved += next != ps[i];
      ps[i] = static_cast<int8_t>(next);
    }
    changed += moved;
  }
  return changed;
}

template <typename Products>
constexpr Isa portable_isa(const char* name) {
  return {.name = name,
          .product_loop = portable_product_loop<Products>,
          .pack = portable_pack<Products>,
          .linear = portable_linear<Products>,
          .noise = portable_noise,
          .noise_panel = portable_noise,
          .sum_b = portable_sum_b,
          .perturb_vector = portable_perturb_vector,
          .embed = portable_embed,
          .layer_norm = portable_layer_norm,
          .gru_forget = portable_gru_forget,
          .gru_update = portable_gru_update,
          .add_clip = portable_add_clip,
          .exp2_sum = portable_exp2_sum,
          .interleave = portable_interleave,
          .outer = portable_outer<Products>,
          .outer_vector = portable_outer_vector,
          .add_full = portable_add_full,
          .step_threshold = portable_step_threshold,
          .step_sigma_delta = portable_step_sigma_delta};
}

}  // namespace
}  // namespace eggroll::cpu
