// The AVX-512 table, part two: packed weights and the perturbed product.
#include "kernels/cpu/avx512_noise.hpp"
#include "kernels/cpu/avx512_perturbation.hpp"

namespace eggroll::cpu {
namespace {

constexpr size_t panel_order(size_t position) {
  return 16 * (position / 4 % 4) + 4 * (position / 16) + position % 4;
}

// ---- perturbed product ----

template <int Rows>
inline void start_sums(const LinearCall& c, size_t first, __m512i (&acc)[Rows][4]) {
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[r][j] = load(c.w.compensation + first + 16 * j);
}

template <int Rows, Width W, Rounding R, bool ChooseBytes, typename WhatIsAhead>
inline void linear_tile(const LinearCall& c, int row, const int8_t* panel, size_t first,
                        WhatIsAhead ahead) {
  const size_t in = c.w.in;
  __m512i acc[Rows][4];
  start_sums(c, first, acc);
  accumulate<Int8Products>(acc, c.x + row * in, in, 4, panel, in / 4, ahead);
  finish_rows<Rows, W, R, ChooseBytes>(c, row, first, acc);
}

// ---- beside a product ----

// A product of four rows is as fast as one of six, leaves registers free and fills only the vector
// pipes that multiply. Work that has nothing to do with it is put between its instructions: a piece
// behind each of kGroups groups of inputs, again and again while there is more.

// The projections of the four rows.
struct ProjectionsBeside {
  static constexpr int kGroups = 16;
  const uint8_t* x;
  size_t in;
  const int8_t* b;
  size_t stride;
  __m512i products[4] = {};

  ProjectionsBeside(const LinearCall& c, size_t row)
      : x(c.x + row * c.w.in),
        in(c.w.in),
        b(c.noise.b + row / 2 * c.noise.stride),
        stride(c.noise.stride) {}

  bool more() const { return true; }

  template <int Group>
  [[gnu::always_inline]] void piece() {
    if constexpr (Group % 4 == 1) {
      constexpr int kRow = Group / 4;
      dot4(products[kRow], load(x + kRow * in), load(b + kRow / 2 * stride));
    }
    if constexpr (Group == kGroups - 1) {
      x += 4 * kGroups;
      b += 4 * kGroups;
    }
  }

  void finish(const LinearCall& c, int row) {
    finish_projections</*Split=*/true, /*Pairs=*/2>(c, row / 2, 0, products);
  }
};

// Noise that later products need, 64 values at a time.
struct NoiseBeside {
  static constexpr int kGroups = 8;
  NoiseCursor& noise;
  Philox64 philox;

  explicit NoiseBeside(NoiseCursor& noise) : noise(noise) {}

  bool more() const { return noise.more(); }

  template <int Group>
  [[gnu::always_inline]] void piece() {
    static_assert(kPhiloxRounds == kGroups + 2);
    const __m512i m0 = _mm512_set1_epi64(kPhiloxMultiplier0);
    const __m512i m1 = _mm512_set1_epi64(kPhiloxMultiplier1);
    if constexpr (Group == 0)
      philox.start(noise.keys(), noise.here(), m0, m1);
    else
      philox.round(noise.keys(), Group + 1, m0, m1);
    philox.keep_order();
    if constexpr (Group == kGroups - 1) {
      store(noise.here().out, philox.values(noise.keys(), m0, m1, load_again(kNoiseTableA),
                                            load_again(kNoiseTableB)));
      noise.advance();
    }
  }

  void finish(const LinearCall&, int) {}

 private:
  // Not kept in a register from one time to the next.
  [[gnu::always_inline]] static __m512i load_again(const int8_t* from) {
    __m512i v;
    asm volatile("vmovdqu64 %1,%0" : "=v"(v) : "m"(*reinterpret_cast<const __m512i_u*>(from)));
    return v;
  }
};

constexpr size_t kNearBytes = 32 << 10;  // of a panel, beside its rows in the first-level cache

template <bool ChooseBytes, typename Beside>
[[gnu::always_inline]] inline void linear_tile_beside(const LinearCall& c, int row,
                                                      const int8_t* panel, size_t first,
                                                      Ahead ahead, Beside beside) {
  constexpr int kGroups = Beside::kGroups;
  const size_t in = c.w.in;
  __m512i acc[4][4];
  start_sums(c, first, acc);
  const uint8_t* x = c.x + row * in;
  size_t groups = in / 4;
  for (; groups > 0 && beside.more(); groups -= kGroups) {
    unrolled<kGroups>([&](auto group) __attribute__((always_inline)) {
      ahead.ask();
      add_group<Int8Products>(acc, x + 4 * group, in, panel + 4 * kPanel * group);
      beside.template piece<group>();
    });
    x += 4 * kGroups;
    panel += 4 * kPanel * kGroups;
  }
  if (groups > 0) [[unlikely]]
    accumulate<Int8Products>(acc, x, in, 4, panel, groups, ahead);
  beside.finish(c, row);
  finish_rows<4, Width::split, Rounding::nearest, ChooseBytes>(c, row, first, acc);
}

// Where members are perturbed, the tiles of the first panel make the projections of their rows, and
// the tiles of a panel ask for the next one together; behind the last follow the weights of the
// next matrix.
template <Width W, Rounding R, bool ChooseBytes>
void linear_rows(const LinearCall& c) {
  const size_t panel_bytes = kPanel * c.w.in, rows = static_cast<size_t>(c.rows);
  NoiseRows nothing;
  NoiseRows& meanwhile = c.meanwhile ? *c.meanwhile : nothing;
  const PhiloxKeys keys(meanwhile.seed, meanwhile.epoch);
  NoiseCursor noise(meanwhile, keys);
  const size_t ahead_256 = (256 * 4 * kPanel + rows - 1) / rows;  // bytes a row and group, 256-fold
  for (size_t first = 0; first < c.w.out; first += kPanel) {
    const int8_t* panel = c.w.panels + first * c.w.in;
    [[maybe_unused]] const auto ahead = [&](size_t row, size_t count) {
      const char* next = reinterpret_cast<const char*>(panel + panel_bytes);
      return Ahead{next + c.w.in / 4 * row * ahead_256 / 256, count * ahead_256 / 256};
    };
    size_t row = 0;
    if constexpr (W == Width::split) {
      // Tiles of four rows read a panel more often than those of six: it has to be near.
      // Projections that end with their product delay it, which a short one does not hide.
      const bool near = panel_bytes <= kNearBytes;
      const bool projects = first == 0 && near && c.w.in >= 2 * kPanel;
      const bool makes_noise = first > 0 && near;
      // Five and six rows go better as one tile.
      for (; (projects || (makes_noise && noise.more())) && (rows - row >= 7 || rows - row == 4);
           row += 4) {
        const auto at = static_cast<int>(row);
        if (projects)
          linear_tile_beside<ChooseBytes>(c, at, panel, first, ahead(row, 4),
                                          ProjectionsBeside(c, row));
        else
          linear_tile_beside<ChooseBytes>(c, at, panel, first, ahead(row, 4), NoiseBeside(noise));
      }
    }
    for_each_micro_tile(row, rows, [&]<int Rows>(size_t row) {
      const auto at = static_cast<int>(row);
      if constexpr (W == Width::none) {
        linear_tile<Rows, W, R, ChooseBytes>(c, at, panel, first, NothingAhead{});
      } else {
        if (first == 0) project<W == Width::split>(c, at, Rows);
        linear_tile<Rows, W, R, ChooseBytes>(c, at, panel, first, ahead(row, Rows));
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
