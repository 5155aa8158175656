// What the kernel of the integer model is told: everything it reads and writes, by value.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/rules.hpp"
#include "kernels/cuda/noise.cuh"
#include "kernels/fixed_point.hpp"

namespace eggroll::cuda {

inline constexpr int kThreads = 256;  // of a block
inline constexpr int kWarps = kThreads / 32;

struct ScoreTables {
  uint32_t exp2_mantissa[16];
  uint32_t log2_edge[16];  // the last one is not used
};

struct RowsCall {
  // the model
  const int8_t* parameters = nullptr;  // in layout order
  uint32_t layers = 0, width = 0;
  int log2_width = 0;
  int terms = 0;  // noise_rank
  int matrix_shift = 0, vector_shift = 0;
  Rounding rounding = Rounding::nearest;
  NoiseTables noise_tables;
  ScoreTables score_tables;
  uint64_t seed = 0;
  uint32_t noise_epoch = 0;

  // the rows: two of a pair next to each other, or streams
  uint32_t rows = 0;
  uint32_t tokens = 0;
  uint32_t first_pair = 0;             // perturbed: number in the population of the first row's
  const uint32_t* text_row = nullptr;  // [rows / 2] perturbed; a stream reads the row of its number
  const uint8_t* text = nullptr;       // [text rows, tokens + 1]

  // what they carry: slot row * slots_per_pair / 2 of [slots, layers, width]; none: zero at first
  int8_t* states = nullptr;
  int slots_per_pair = 0;
  int saved_parity = -1;  // rows row % 2 == saved_parity leave their states; -1: all
  // what comes out
  int32_t* score = nullptr;            // [rows], sums over tokens; of members
  int64_t* stream_score = nullptr;     // [rows]; of streams, where they are wanted
  const double* exact_exp2 = nullptr;  // [256]; streams only
  double* exact_sum = nullptr;         // [rows, tokens], see loss_2e24; streams only
  int8_t* logit_of_target = nullptr;   // the same
  int8_t* logits = nullptr;            // [256] of the first row after the last token; may be null
  const int32_t* give_up = nullptr;    // turns nonzero when nothing of this is wanted any more

  // of each block that runs
  int8_t* noise = nullptr;  // see BlockNoiseLayout
  size_t noise_bytes = 0;
  int8_t* working_states = nullptr;  // [layers, rows of a block, width]
  int8_t* activations = nullptr;     // where they are not in shared memory
};

// The tensors of int_rnn_layout as the kernel counts on them; CudaIntRnn checks that they stand
// so. which: 0 to 5 for a layer's Wf, Uf, Wh, Uh, W1, W2.
inline constexpr uint32_t kHeadProduct = 6;
struct MatrixShape {
  uint32_t out, in;
};
EGGROLL_HD constexpr MatrixShape shape_of(uint32_t which, uint32_t width) {
  return {which == 4              ? 4 * width
          : which == kHeadProduct ? 256
                                  : width,
          which == 5 ? 4 * width : width};
}
// In the arena; of the head for any layer. emb and head come first, then the layers, then vectors.
EGGROLL_HD constexpr size_t offset_of_matrix(uint32_t layer, uint32_t which, uint32_t width) {
  const uint32_t squares = 12 * layer + (which <= 4 ? which : 8);  // W1 has four times the rows
  return which == kHeadProduct ? size_t{256} * width
                               : (size_t{512} + size_t{squares} * width) * width;
}
EGGROLL_HD constexpr size_t offset_of_vectors(uint32_t layers, uint32_t width) {
  return offset_of_matrix(layers, 0, width);
}

// Noise of a block of `pairs` pairs, in bytes from the start of the block's share:
//   matrices and embedding, in layout order   [pairs, r (in + out)], in address order: B, then A
//   perturbed vectors, in layout order        [pairs, width / 8, 16], eight elements of both members
//                                             as they stand in a plane
struct BlockNoiseLayout {
  uint32_t layers, width, terms, pairs;

  EGGROLL_HD constexpr uint32_t matrices() const { return 2 + 6 * layers; }  // emb among them
  EGGROLL_HD constexpr size_t of_pair_embedding() const {
    return size_t{terms} * (256 + width);  // emb and head alike
  }
  EGGROLL_HD constexpr size_t of_layer() const { return size_t{terms} * 18 * width; }
  // matrix: 0 emb, 1 head, 2 + 6 l + k as in the layout
  EGGROLL_HD constexpr size_t matrix(uint32_t tensor) const {
    if (tensor < 2) return pairs * tensor * of_pair_embedding();
    const uint32_t layer = (tensor - 2) / 6, which = (tensor - 2) % 6;
    const uint32_t widths = which <= 4 ? 2 * which : 13;  // Wf, Uf, Wh, Uh: 2 each, W1: 5
    return pairs * (2 * of_pair_embedding() + layer * of_layer() + size_t{terms} * widths * width);
  }
  EGGROLL_HD constexpr size_t vector(uint32_t which) const {  // 4 l + k; 4 layers: ln_out
    return pairs * (2 * of_pair_embedding() + layers * of_layer() + size_t{2} * which * width);
  }
  EGGROLL_HD constexpr size_t bytes() const { return vector(4 * layers + 1); }
};

// Shared memory of a block: what is always there, then the activations if they fit.
struct BlockMemory {
  NoiseTables noise_tables;
  ScoreTables score_tables;
  int32_t is_given_up;
  int32_t unused[3];
  // and then: int32 score[rows], uint8 token[rows], uint8 target[rows]
};
EGGROLL_HD constexpr size_t shared_bytes_before_activations(uint32_t rows) {
  return (sizeof(BlockMemory) + rows * 6 + 127) / 128 * 128;
}

// Planes of [pairs, width / 8, 16] int8: eight elements of both members of a pair, four and four in
// turn. x, normed, state, and four of the hidden layer. While the gates are made the hidden layer
// is not needed: three of its planes hold parts of the gates, the last one the projections of their
// inputs, int32 [3, r, rows]. The projections of the products after the gates stand where the state
// was.
enum Plane : uint32_t { kX, kNormed, kState, kWide, kForget = kWide, kGated, kCandidate, kLast };
EGGROLL_HD constexpr size_t activation_bytes(uint32_t rows, uint32_t width, uint32_t terms) {
  const uint32_t last = width > 12 * terms ? width : 12 * terms;
  return size_t{rows} * (kLast * width + last);
}

}  // namespace eggroll::cuda
