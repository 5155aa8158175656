// The table for processors with AMX (Xeon since Sapphire Rapids): products on tiles, eight times
// the rate of vpdpbusd; everything else as in the AVX-512 table, whose packed matrices these are.
//
// A tile is 16 rows of 64 bytes. Four inputs of 16 outputs are 64 bytes of a panel, so the weights
// of 64 inputs and 16 outputs are a tile as they lie, a row every 256 bytes; so are 64 inputs of 16
// members. Sums go through memory to vectors.
#include <algorithm>

#include "kernels/cpu/avx512_perturbation.hpp"

namespace eggroll::cpu {
namespace {

constexpr size_t kTileRows = 16;
constexpr size_t kTileBytes = 64;  // of a row
constexpr long kPanelGroup = 4 * kPanel;

// Eight tiles of 16 rows of 64 bytes, as LDTILECFG reads it.
struct TileShapes {
  uint8_t palette = 1;
  uint8_t reserved[15] = {};
  uint16_t bytes_of_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
alignas(64) constexpr TileShapes kTileShapes;
static_assert(sizeof kTileShapes == 64);

// Has the tile registers of this thread as long as it lives; they begin as zeros.
struct Tiles {
  Tiles() { _tile_loadconfig(&kTileShapes); }
  ~Tiles() { _tile_release(); }
};

// Where the compiler may not move stores of what a tile loads, as its intrinsics do not say that
// they read memory.
inline void memory_is_read() { asm volatile("" ::: "memory"); }

// Sums of up to 32 rows and a panel.
struct Sums {
  alignas(64) int32_t of[2 * kTileRows][kPanel];
};

// Half a panel: sums = 16 * RowTiles rows of left times 32 columns of right. Two by two tiles of
// sums use twice what is loaded, so that the right side may come from the second-level cache. A
// step is 64 terms, left_step bytes apart; beside(step) is called after each.
template <int RowTiles, bool Signed, typename Beside>
inline void multiply(const void* left, long left_row, size_t left_tile, size_t left_step,
                     const int8_t* right, size_t steps, int32_t* sums, const Beside& beside) {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (RowTiles == 2) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const char* l = static_cast<const char*>(left);
  for (size_t k = 0; k < steps; ++k, l += left_step, right += kTileRows * kPanelGroup) {
    _tile_loadd(4, l, left_row);
    _tile_loadd(6, right, kPanelGroup);
    _tile_loadd(7, right + kTileBytes, kPanelGroup);
    if constexpr (RowTiles == 2) _tile_loadd(5, l + left_tile, left_row);
    if constexpr (Signed) {
      static_assert(RowTiles == 2);
      _tile_dpbssd(0, 4, 6);
      _tile_dpbssd(1, 4, 7);
      _tile_dpbssd(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
    } else {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      if constexpr (RowTiles == 2) {
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
    }
    beside(k);
  }
  constexpr long kRow = kPanel * sizeof(int32_t);
  _tile_stored(0, sums, kRow);
  _tile_stored(1, sums + 16, kRow);
  if constexpr (RowTiles == 2) {
    _tile_stored(2, sums + kTileRows * kPanel, kRow);
    _tile_stored(3, sums + kTileRows * kPanel + 16, kRow);
  }
}

// ---- perturbed product ----

// The lines behind `at`, of which every step asks for its share.
struct LinesAhead {
  LinesAhead(const int8_t* at, size_t bytes, size_t steps)
      : lines{reinterpret_cast<const char*>(at), 64}, a_step((bytes / 64 + steps - 1) / steps) {}
  void ask() {
    for (size_t l = 0; l < a_step; ++l) lines.ask();
  }

  Ahead lines;
  size_t a_step;
};

// The end of Rows rows from row on at one panel, two at a time.
template <int Rows, Width W, Rounding R, bool ChooseBytes>
inline void finish_panel(const LinearCall& c, int row, size_t first, const Sums& sums) {
  __m512i start[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) start[j] = load(c.w.compensation + first + 16 * j);
  for (int done = 0; done < Rows; done += 2) {
    __m512i acc[2][4];
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j)
        acc[r][j] = _mm512_add_epi32(load(sums.of[done + r] + 16 * j), start[j]);
    finish_rows<2, W, R, ChooseBytes>(c, row + done, first, acc);
  }
}

// The first `rows` rows of a call, a multiple of 16. The products at a panel ask for the weights of
// the next one and for their share of the noise of the next matrix, which follow in memory.
template <Width W, Rounding R, bool ChooseBytes>
void linear_rows(const LinearCall& call, int rows) {
  const LinearCall c = call;  // no store of a result changes it
  const Tiles tiles;
  const size_t in = c.w.in, steps = in / kTileBytes;
  const size_t steps_a_panel = 2 * steps * ((static_cast<size_t>(rows) + 31) / 32);
  const size_t noise_bytes = W == Width::none ? 0 : static_cast<size_t>(rows) / 2 * c.noise.stride;
  LinesAhead noise(c.noise.b + noise_bytes, noise_bytes, steps_a_panel * (c.w.out / kPanel));
  Sums sums;
  for (size_t first = 0; first < c.w.out; first += kPanel) {
    const int8_t* panel = c.w.panels + first * in;
    LinesAhead weights(panel + kPanel * in, kPanel * in, steps_a_panel);
    const auto block = [&]<int RowTiles>(int row) {
      constexpr int kRows = kTileRows * RowTiles;
      if constexpr (W != Width::none)
        if (first == 0) project<W == Width::split>(c, row, kRows);
      for (size_t half = 0; half < 2; ++half)
        multiply<RowTiles, false>(c.x + row * in, static_cast<long>(in), kTileRows * in, kTileBytes,
                                  panel + 2 * kTileBytes * half, steps, sums.of[0] + 32 * half,
                                  [&](size_t) {
                                    weights.ask();
                                    if constexpr (W != Width::none) noise.ask();
                                  });
      finish_panel<kRows, W, R, ChooseBytes>(c, row, first, sums);
    };
    int row = 0;
    for (; rows - row >= 32; row += 32) block.template operator()<2>(row);
    if (row < rows) block.template operator()<1>(row);
  }
}

// What is left of the rows after the tiles goes the way of AVX-512.
void linear(const LinearCall& c) {
  const int rows = c.rows / 16 * 16;
  memory_is_read();
  if (rows > 0)
    with_the_end_of(c, [&]<Width W, Rounding R, bool ChooseBytes>() {
      linear_rows<W, R, ChooseBytes>(c, rows);
    });
  if (rows == c.rows) return;
  LinearCall rest = c;
  rest.x += rows * c.w.in;
  rest.rows -= rows;
  if (c.noise.terms != 0) {
    rest.noise.a += rows / 2 * c.noise.stride;
    rest.noise.b += rows / 2 * c.noise.stride;
    rest.noise.b_sum += rows / 2 * c.noise.terms;
  }
  rest.y += rows * c.w.out;
  avx512::linear(rest);
}

double product_loop(uint64_t iterations) {
  const Tiles tiles;
  // Numbers, as a model has them, should the clock depend on what is multiplied.
  alignas(64) int8_t values[kTileRows * kTileBytes];
  for (size_t i = 0; i < sizeof values; ++i) values[i] = static_cast<int8_t>(37 * i + i / 64);
  memory_is_read();
  _tile_loadd(4, values, kTileBytes);
  _tile_loadd(5, values, kTileBytes);
  for (uint64_t i = 0; i < iterations; ++i) {
    _tile_dpbusd(0, 4, 5);
    _tile_dpbusd(1, 4, 5);
    _tile_dpbusd(2, 4, 5);
    _tile_dpbusd(3, 4, 5);
  }
  constexpr double kOperations = 2.0 * kTileRows * 16 * kTileBytes;  // of one instruction
  return 4 * kOperations * static_cast<double>(iterations);
}

// ---- update ----

// Terms of one product, of which 32 rows lie transposed beside the rest in the second-level cache.
constexpr size_t kMostSteps = 16;

// v[i] dword j <-> v[j] dword i.
inline void transpose(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Lane L of v[4 g + i] is dwords 4 g ... 4 g + 3 of what becomes row 4 L + i.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i low01 = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x44);
    const __m512i high01 = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xEE);
    const __m512i low23 = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xEE);
    t[i] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
    t[8 + i] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = t[i];
}

// A tile of the left side: 16 groups of four terms of `rows` rows, at most 16, out of x
// [groups][out][4] u8, as int8. What is missing to 16 is zero.
inline void make_left(const uint8_t* x, size_t groups, size_t out, size_t rows, int8_t* tile) {
  const __mmask16 present = static_cast<__mmask16>(rows >= 16 ? 0xFFFF : (1u << rows) - 1);
  __m512i v[16];
#pragma GCC unroll 16
  for (size_t g = 0; g < 16; ++g)
    v[g] = g < groups
               ? _mm512_maskz_xor_epi32(present, _mm512_maskz_loadu_epi32(present, x + 4 * g * out),
                                        _mm512_set1_epi8(-128))
               : _mm512_setzero_si512();
  transpose(v);
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) store(tile + r * kTileBytes, v[r]);
}

// z, 32 rows at a time, from at most kMostSteps * 16 groups; right: [panel][panel_groups][64][4].
template <bool Add>
void outer_groups(const uint8_t* x, const int8_t* w, size_t groups, size_t panel_groups, size_t out,
                  size_t in, int32_t* z, size_t z_row) {
  const Tiles tiles;
  const size_t whole = groups / 16, steps = (groups + 15) / 16;
  alignas(64) int8_t left[kMostSteps][2][kTileRows * kTileBytes];
  alignas(64) int8_t last[16 * kPanelGroup] = {};  // groups of a panel, filled up with zeros
  Sums sums[2];                                    // of whole steps, of the rest
  for (size_t row = 0; row < out; row += 2 * kTileRows) {
    for (size_t k = 0; k < steps; ++k)
      for (size_t t = 0; t < 2; ++t) {
        const size_t begin = std::min(row + t * kTileRows, out);
        make_left(x + 4 * (16 * k * out + begin), groups - 16 * k, out,
                  std::min(out - begin, kTileRows), left[k][t]);
      }
    for (size_t p = 0; p < in / kPanel; ++p) {
      const int8_t* panel = w + p * panel_groups * kPanelGroup;
      std::copy_n(panel + 16 * whole * kPanelGroup, (groups - 16 * whole) * kPanelGroup, last);
      memory_is_read();
      for (size_t half = 0; half < 2; ++half) {
        const auto times = [&](size_t first_step, size_t count, const int8_t* right, Sums& to) {
          multiply<2, true>(left[first_step], kTileBytes, sizeof left[0][0], sizeof left[0],
                            right + 2 * kTileBytes * half, count, to.of[0] + 32 * half,
                            [](size_t) {});
        };
        times(0, whole, panel, sums[0]);
        if (whole < steps) times(whole, 1, last, sums[1]);
      }
      for (size_t r = 0; r < std::min(2 * kTileRows, out - row); ++r)
        for (size_t j = 0; j < kPanel; j += 16) {
          int32_t* to = z + (row + r) * z_row + p * kPanel + j;
          __m512i sum = load(sums[0].of[r] + j);
          if (whole < steps) sum = _mm512_add_epi32(sum, load(sums[1].of[r] + j));
          store(to, Add ? _mm512_add_epi32(load(to), sum) : sum);
        }
    }
  }
}

void outer(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in, bool add,
           int32_t* z, size_t z_row) {
  for (size_t g = 0; g < terms4; g += 16 * kMostSteps) {
    const size_t groups = std::min(terms4 - g, 16 * kMostSteps);
    const uint8_t* left = x + 4 * g * out;
    const int8_t* right = w + g * kPanelGroup;
    add || g > 0 ? outer_groups<true>(left, right, groups, terms4, out, in, z, z_row)
                 : outer_groups<false>(left, right, groups, terms4, out, in, z, z_row);
  }
}

}  // namespace

const Isa& isa_amx() {
  static const Isa isa = [] {
    Isa table = isa_avx512();
    table.name = "amx";
    // Products are so fast that weights and noise come too slowly from the third-level cache:
    // they are to serve as many rows as there is room for.
    table.block_pairs = kMostBlockPairs;
    table.block_step = kTileRows / 2;
    table.product_loop = product_loop;
    table.linear = linear;
    table.outer = outer;
    return table;
  }();
  return isa;
}

}  // namespace eggroll::cpu
