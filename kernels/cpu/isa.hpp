// The inner loops of the CPU twin as a table of functions: one table per instruction set, all
// bit-identical, chosen at run time. Each table is compiled in its own file with its own flags
// (isa_scalar, isa_avx2, isa_avxvnni, isa_avx512, isa_amx).
//
// Shapes: rows are members (two of a pair next to each other) or streams. Activations that enter a
// product are stored as u8 = int8 ^ 0x80, all others as int8. Widths are multiples of 64 (what the
// step moves is not); a panel is 64 outputs. Inside a panel a table may keep outputs in an order
// of its own ("panel order") in packed matrices and in the noise of the update, both of which it
// makes and reads itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/noise.hpp"
#include "common/rules.hpp"

namespace eggroll::cpu {

inline constexpr size_t kPanel = 64;
inline constexpr uint64_t kMostBlockPairs = 96;

// W [out, in] as panels of 64 outputs x in, four inputs together, and -128 * (sum of each row) for
// u8 activations.
struct PackedMatrix {
  const int8_t* panels = nullptr;
  const int32_t* compensation = nullptr;  // [out], panel order
  size_t out = 0;
  size_t in = 0;
};

// Noise of the members of a block for one matrix: B for projecting the input, A for the output.
struct BlockNoise {
  const int8_t* a = nullptr;       // [pairs, terms, out], pairs stride elements apart
  const int8_t* b = nullptr;       // [pairs, terms, in], likewise
  size_t stride = 0;               // terms * (in + out) where both lie as the noise law has them
  const int32_t* b_sum = nullptr;  // [pairs, terms]: sums over the inputs
  int terms = 0;                   // noise_rank; 0: unperturbed
};

// Elements first ... first + count - 1 of one pair's noise for one tensor; both multiples of 64,
// count not 0.
struct NoiseRow {
  uint32_t tensor = 0;
  uint32_t pair = 0;
  uint32_t first = 0;
  uint32_t count = 0;
  int8_t* out = nullptr;
};

// Rows that are to be made, in order; who makes some of them on the way moves next and made on.
struct NoiseRows {
  uint64_t seed = 0;
  uint32_t epoch = 0;
  const NoiseRow* next = nullptr;
  const NoiseRow* end = nullptr;
  uint32_t made = 0;  // elements of *next, a multiple of 64
};

struct PerturbationScale {
  int shift = 8;  // 4 + sigma_shift (+ log2 sqrt(noise_rank) for matrices)
  Rounding rounding = Rounding::nearest;
};

// y = clip8((x W^T + perturbation) >> shift), s = + for even rows,
// perturbation = round((sum_q s (x . B_q) A_q) / 2^perturbation.shift).
struct LinearCall {
  const uint8_t* x = nullptr;  // [rows, in]
  int rows = 0;
  PackedMatrix w;
  int shift = 0;  // 4 + log2 sqrt(in)
  BlockNoise noise;
  PerturbationScale perturbation;
  int32_t* projection = nullptr;   // scratch [max(terms, 2), rows]
  NoiseRows* meanwhile = nullptr;  // of which the product may make some beside its own work
  uint8_t flip = 0;                // 0x80 stores y as u8 activations
  int8_t* y = nullptr;             // [rows, out]
};

struct Isa {
  const char* name;

  // Pairs that one thread takes through the model together, at most (kMostBlockPairs at most): many
  // read the weights seldom, few keep their noise in the nearer caches. Blocks are multiples of
  // block_step but for the last.
  uint64_t block_pairs = 24;
  uint64_t block_step = 1;

  // The ceiling of integer products: a loop of independent product instructions on registers alone.
  // Returns the operations (multiplications and additions) it did.
  double (*product_loop)(uint64_t iterations);

  void (*pack)(const int8_t* w, size_t out, size_t in, int8_t* panels, int32_t* compensation);
  void (*linear)(const LinearCall& call);

  // Makes all that is left of the rows, in natural or panel order.
  void (*noise)(NoiseRows rows);
  void (*noise_panel)(NoiseRows rows);
  // What b_sum of a block's noise is to be.
  void (*sum_b)(const BlockNoise& noise, size_t pairs, size_t in, int32_t* b_sum);

  // The two members' clip8(p + round(s z / 2^shift)), s = + and -, z_i = v_i * v_{n + i}, in place
  // of the noise v of their pair.
  void (*perturb_vector)(const int8_t* p, size_t n, PerturbationScale perturbation, int8_t* v);
  // out = clip8(row + round((sum_q a_q B_q) / 2^shift)), a_q with the member's sign; b: [terms, n].
  void (*embed)(const int8_t* row, const int32_t* a, const int8_t* b, int terms, size_t n,
                PerturbationScale perturbation, int8_t* out);

  // out = LN(x) * w as u8; log2_n = log2 n.
  void (*layer_norm)(const int8_t* x, const int8_t* w, size_t n, int log2_n, uint8_t* out);
  // f = clip8(fx + fh + bias); gated = ((f + 127) h >> 8) as u8.
  void (*gru_forget)(const int8_t* fx, const int8_t* fh, const int8_t* bias, const int8_t* h,
                     size_t n, int8_t* f, uint8_t* gated);
  // c = clip8(cx + ch + bias); h += (f + 127)(c - h) >> 8; x = clip8(x + h); h also as u8.
  void (*gru_update)(const int8_t* cx, const int8_t* ch, const int8_t* bias, const int8_t* f,
                     size_t n, int8_t* h, uint8_t* h_u8, int8_t* x);
  // x = clip8(x + y).
  void (*add_clip)(const int8_t* y, size_t n, int8_t* x);
  // sum_k EXP2[logit_k + 128] over 256 logits.
  uint32_t (*exp2_sum)(const int8_t* logits);

  // Four noise rows side by side for the update: dst[group of 64][i][q] = d_q * src_q[i] (^ flip), d_q in -2 ... 2,
  // group stride in bytes. Sources in panel order, results in natural order.
  void (*interleave)(const int8_t* const src[4], const int8_t d[4], size_t n, uint8_t flip,
                     int8_t* dst, size_t group_stride);
  // z[row, col] = sum_k (x[k, row] - 128) * w[k, col] for out x 64 * panels, added to what is there
  // with `add`, modulo 2^32; terms in fours. x: [terms/4][out][4] u8; w: [panel][terms/4][64][4]; rows
  // of z stand z_row elements apart.
  void (*outer)(const uint8_t* x, const int8_t* w, size_t terms4, size_t out, size_t in, bool add,
                int32_t* z, size_t z_row);
  // z_i += d v_i v_{n + i}.
  void (*outer_vector)(const int8_t* v, int d, size_t n, int32_t* z);
  // z_i += d v_i.
  void (*add_full)(const int8_t* v, int d, size_t n, int32_t* z);

  // Learner::step on n elements; threshold >= 1. Both return how many parameters changed.
  uint64_t (*step_threshold)(const int32_t* z, int64_t threshold, size_t n, int8_t* parameters);
  uint64_t (*step_sigma_delta)(const int32_t* z, int64_t threshold, size_t n, int32_t* accumulators,
                               int8_t* parameters);
};

const Isa& isa_scalar();
const Isa& isa_avx2();
const Isa& isa_avxvnni();
const Isa& isa_avx512();
const Isa& isa_amx();

// The tables that this machine can run, the narrowest first.
std::vector<const Isa*> isas_of_this_machine();

// The widest table this machine runs, or the one EGGROLL_ISA names. Throws ConfigError where that
// is not possible.
const Isa& choose_isa();

}  // namespace eggroll::cpu
