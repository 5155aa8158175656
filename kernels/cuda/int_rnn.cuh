// Device code of the integer model: a block of threads and its rows, from the first token to the
// last. Rows are members, two of a pair next to each other, or streams under the unperturbed model.
//
// A product is made by warps of 32 outputs each, over all rows of the block, so a block reads every
// weight once a token. The tensor cores take 16 rows x 32 inputs x 8 outputs at a time. The order
// of inputs inside 64 and that of outputs inside 32 are free, and so is which row is which: they
// are chosen so that what a lane loads with one instruction, 16 bytes of both members of a pair or
// of a weight's row, is what the tensor cores want of it, and that it ends up with 8 consecutive
// outputs of a pair, which shares its noise. Longer than a file should be: the products, the gated
// state and the head are steps of one kernel over one block's registers and shared memory.
#pragma once

#include <cstdint>

#include "kernels/cuda/block_of_rows.cuh"

namespace eggroll::cuda {

// What becomes of a product's outputs y.
enum class Finish {
  store,     // into a plane
  forget,    // f = clip8(fx + y + bias) and the gated state
  update,    // the new state, and x plus it
  residual,  // x = clip8(x + y)
};

struct LayerProduct {
  uint32_t tensor;  // index in the layout
  const int8_t* weights;
  uint32_t out, in;
  uint32_t from;         // plane of the inputs
  int32_t* projections;  // [r, rows]
  Finish finish;
  uint32_t to;      // store: plane of the outputs
  uint32_t vector;  // forget, update: number of the bias
};

template <int kTiles, bool kPerturbed, bool kShared>
class IntRnnBlock : BlockOfRows<kTiles, kPerturbed, kShared> {
  using Block = BlockOfRows<kTiles, kPerturbed, kShared>;
  using Block::call_, Block::count_, Block::first_row_, Block::layer_, Block::noise_,
      Block::noise_layout_, Block::width_;
  using Block::kPairs, Block::kRows;
  using Block::matrix_noise, Block::memory, Block::place, Block::place_of_byte, Block::plane,
      Block::room_of_plane, Block::score, Block::state_of_layer, Block::target, Block::token,
      Block::vector_of_pair;

 public:
  using Block::Block;

  __device__ void run() {
    copy_tables(call_.noise_tables, &memory().noise_tables);
    if (threadIdx.x < 16) {
      memory().score_tables.exp2_mantissa[threadIdx.x] =
          call_.score_tables.exp2_mantissa[threadIdx.x];
      memory().score_tables.log2_edge[threadIdx.x] = call_.score_tables.log2_edge[threadIdx.x];
    }
    for (first_row_ = blockIdx.x * kRows; first_row_ < call_.rows;
         first_row_ += gridDim.x * kRows) {
      count_ = call_.rows - first_row_ < kRows ? call_.rows - first_row_ : kRows;
      __syncthreads();
      if (!run_rows()) return;
    }
  }

 private:
  // ---- a generation of these rows ----
  __device__ bool run_rows() {
    if (kPerturbed) this->make_noise();
    this->template move_states<true>();
    if (threadIdx.x < kRows) score()[threadIdx.x] = 0;
    int64_t stream_score = 0;  // of this thread's row; a stream may be longer than 32 bits allow
    for (uint32_t k = 0; k < call_.tokens; ++k) {
      if (threadIdx.x == 0) {
        memory().is_given_up = is_given_up_;
        // In the host's memory, far away: what is read here is looked at a token later.
        if (call_.give_up != nullptr)
          is_given_up_ = *static_cast<const volatile int32_t*>(call_.give_up);
      }
      if (threadIdx.x < kRows) this->read_token(threadIdx.x, k);
      __syncthreads();
      if (memory().is_given_up) return false;
      this->reset_rows_at_boundaries();
      embed();
      __syncthreads();
      run_model();
      score_logits(k);
      __syncthreads();
      if (!kPerturbed && threadIdx.x < kRows) {
        stream_score += score()[threadIdx.x];
        score()[threadIdx.x] = 0;
      }
    }
    if (call_.logits != nullptr && first_row_ == 0 && threadIdx.x < 256)
      call_.logits[threadIdx.x] = plane(kWide)[place_of_byte(0, threadIdx.x, 256)];
    this->template move_states<false>();
    if (threadIdx.x >= count_) return true;
    if (kPerturbed)
      call_.score[first_row_ + threadIdx.x] = score()[threadIdx.x];
    else if (call_.stream_score != nullptr)
      call_.stream_score[first_row_ + threadIdx.x] = stream_score;
    return true;
  }

  // From x to the logits. A layer's products come in four groups, with a norm before the first and
  // the third: (Wf, Uf, Wh), Uh, W1, W2; the head is a group of its own. Each part of the model has
  // one place in the text that calls it, as each is unrolled at that place.
  __device__ void run_model() {
    for (uint32_t group = 0; group <= 4 * call_.layers; ++group) {
      layer_ = group / 4;
      const bool is_head = layer_ == call_.layers;
      const uint32_t first = is_head ? kHeadProduct : group % 4 == 0 ? 0 : 2 + group % 4;
      const uint32_t last = first == 0 ? 2 : first;
      if (group % 2 == 0) {
        normalize(is_head ? 4 * layer_ : 4 * layer_ + 2 + group % 4 / 2);
        if (first == 0) this->load_layer_state();
        __syncthreads();
      }
      if (kPerturbed) {
        for (uint32_t which = first; which <= last; ++which) project(product(which));
        __syncthreads();
      }
      for (uint32_t which = first; which <= last; ++which) multiply(product(which));
      __syncthreads();
    }
  }

  __device__ LayerProduct product(uint32_t which) const {
    const MatrixShape shape = shape_of(which, width_);
    LayerProduct p;
    p.tensor = which == kHeadProduct ? 1 : 2 + 6 * layer_ + which;
    p.weights = call_.parameters + offset_of_matrix(layer_, which, width_);
    p.out = shape.out;
    p.in = shape.in;
    p.from = which == 1 ? kState : which == 3 ? kGated : which == 5 ? kWide : kNormed;
    p.projections = reinterpret_cast<int32_t*>(room_of_plane(which <= 3 ? kLast : kState)) +
                    (which <= 2 ? which : 0) * static_cast<uint32_t>(call_.terms) * kRows;
    p.finish = which == 1   ? Finish::forget
               : which == 3 ? Finish::update
               : which == 5 ? Finish::residual
                            : Finish::store;
    p.to = which == 2 ? kCandidate : kWide;
    p.vector = 4 * layer_ + which / 2;
    return p;
  }

  // ---- the parts of the model, eight lanes a pair ----
  __device__ void embed() {
    for (uint32_t pair = threadIdx.x / 8; pair < kPairs; pair += kThreads / 8) {
      const uint32_t bytes[2] = {token()[2 * pair], token()[2 * pair + 1]};
      const int8_t* noise = matrix_noise(0, pair, width_, 256);
      for (uint32_t at = 8 * (threadIdx.x % 8); at < width_; at += 64) {
        int32_t moved[2][8] = {};
        if (kPerturbed) {
          for (int q = 0; q < call_.terms; ++q) {
            const int8_t* a = noise + call_.terms * width_ + q * 256;
            const uint2 b = load<uint2>(noise + q * width_ + at);
            const int32_t factor[2] = {a[bytes[0]], -a[bytes[1]]};
#pragma unroll
            for (int s = 0; s < 2; ++s)
#pragma unroll
              for (int k = 0; k < 8; ++k) moved[s][k] += factor[s] * signed_byte(b, k);
          }
        }
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          const uint2 row = load<uint2>(call_.parameters + bytes[s] * width_ + at);
#pragma unroll
          for (int k = 0; k < 8; ++k)
            moved[s][k] =
                signed_byte(row, k) + round_shift(moved[s][k], call_.matrix_shift, call_.rounding);
        }
        store(plane(kX) + place(pair, at, width_), clipped_bytes_of_pair(moved));
      }
    }
  }

  // normed = layer norm of x with this vector.
  __device__ void normalize(uint32_t vector) {
    const int8_t* x = plane(kX);
    for (uint32_t pair = threadIdx.x / 8; pair < kPairs; pair += kThreads / 8) {
      int32_t magnitude[2] = {0, 0};
      for (uint32_t at = 8 * (threadIdx.x % 8); at < width_; at += 64) {
        const uint4 u = load<uint4>(x + place(pair, at, width_));
#pragma unroll
        for (int s = 0; s < 2; ++s)
#pragma unroll
          for (int k = 0; k < 8; ++k) {
            const int32_t v = byte_of_pair(u, s, k);
            magnitude[s] += v < 0 ? -v : v;
          }
      }
      // floor(v / a) = floor((v + 1/2) / a): half a grid step from any integer, far more than the
      // rounding errors of one reciprocal and one product for |v| <= 127 * 127 and a <= 127.
      float scale[2];
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const int32_t mean = sum_of_eight(magnitude[s]) >> call_.log2_width;
        scale[s] = 1.0f / static_cast<float>(mean == 0 ? 1 : mean);
      }
      for (uint32_t at = 8 * (threadIdx.x % 8); at < width_; at += 64) {
        const uint4 u = load<uint4>(x + place(pair, at, width_));
        const uint4 w = vector_of_pair(vector, pair, at);
        int32_t normed[2][8];
#pragma unroll
        for (int s = 0; s < 2; ++s)
#pragma unroll
          for (int k = 0; k < 8; ++k)
            normed[s][k] = clip8(static_cast<int32_t>(
                floorf((static_cast<float>(byte_of_pair(u, s, k) * byte_of_pair(w, s, k)) + 0.5f) *
                       scale[s])));
        store(plane(kNormed) + place(pair, at, width_), clipped_bytes_of_pair(normed));
      }
    }
  }

  // s (u . B_q) of each row.
  __device__ void project(const LayerProduct& p) {
    const int8_t* input = plane(p.from);
    for (uint32_t pair = threadIdx.x / 8; pair < kPairs; pair += kThreads / 8) {
      const int8_t* noise = matrix_noise(p.tensor, pair, p.in, p.out);
      for (int q = 0; q < call_.terms; ++q, noise += p.in) {
        int32_t plus = 0, minus = 0;
        for (uint32_t at = 8 * (threadIdx.x % 8); at < p.in; at += 64) {
          const uint2 b = load<uint2>(noise + at);
          const uint4 u = load<uint4>(input + place(pair, at, p.in));
          plus = dot(u.z, b.y, dot(u.x, b.x, plus));
          minus = dot(u.w, b.y, dot(u.y, b.x, minus));
        }
        plus = sum_of_eight(plus);
        minus = sum_of_eight(minus);
        if (threadIdx.x % 8 != 0) continue;
        int32_t* const to = p.projections + static_cast<uint32_t>(q) * kRows + 2 * pair;
        to[0] = plus;
        to[1] = -minus;
      }
    }
  }

  // clip8((u W^T + perturbation) >> shift), finished as the product says.
  __device__ void multiply(const LayerProduct& p) {
    const uint32_t g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    // Row g of a tile is the first member of pair g, row g + 8 the second. Of 64 inputs lane t has
    // 16 t ... 16 t + 15: the first half in one instruction, the second in the next.
    const int8_t* input = plane(p.from) + place(g, 16 * t, p.in);
    const int8_t* turned = plane(p.from) + place(g, 16 * t + 8, p.in);
    for (uint32_t slice = threadIdx.x / 32; slice < p.out / 32; slice += kWarps) {
      int32_t sum[kTiles][4][4] = {};
      // Column g of the j-th eight outputs is output 8 (g / 2) + 2 j + g % 2 of the slice.
      const int8_t* weights = p.weights + size_t{32 * slice + 8 * (g / 2) + g % 2} * p.in + 16 * t;
      uint4 next[4];
#pragma unroll
      for (uint32_t j = 0; j < 4; ++j)
        next[j] = load_unchanging<uint4>(weights + size_t{2 * j} * p.in);
      for (uint32_t k = 0; k < p.in; k += 64) {
        uint4 w[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) w[j] = next[j];
        if (k + 64 < p.in) {
#pragma unroll
          for (uint32_t j = 0; j < 4; ++j)
            next[j] = load_unchanging<uint4>(weights + size_t{2 * j} * p.in + k + 64);
        }
#pragma unroll
        for (uint32_t i = 0; i < kTiles; ++i) {
          const uint32_t at = 16 * i * p.in + 2 * k;
          const uint4 low = load<uint4>(input + at), high = load<uint4>(turned + at);
          const uint32_t a[4] = {low.x, low.y, low.z, low.w};
          const uint32_t b[4] = {high.x, high.y, high.z, high.w};
#pragma unroll
          for (int j = 0; j < 4; ++j) multiply_accumulate(sum[i][j], a, w[j].x, w[j].y);
#pragma unroll
          for (int j = 0; j < 4; ++j) multiply_accumulate(sum[i][j], b, w[j].z, w[j].w);
        }
      }
      finish_slice(p, 32 * slice + 8 * t, g, sum);
    }
  }

  // Outputs o ... o + 7 of pair 8 i + g of each tile i.
  __device__ void finish_slice(const LayerProduct& p, uint32_t o, uint32_t g,
                               const int32_t (&sum)[kTiles][4][4]) {
    const int shift = kFractionBits + call_.log2_width / 2 + (p.in == width_ ? 0 : 1);  // sqrt(in)
    const bool wide = kPerturbed && needs_64_bits(p.in, call_.terms);
    const uint32_t pair_bytes = static_cast<uint32_t>(call_.terms) * (p.in + p.out);
    const int8_t* a = noise_ + noise_layout_.matrix(p.tensor) + size_t{g} * pair_bytes +
                      size_t{static_cast<uint32_t>(call_.terms)} * p.in + o;
    const int32_t* projected = p.projections + 2 * g;
    const uint32_t at = place(g, o, p.out);
#pragma unroll
    for (uint32_t i = 0; i < kTiles; ++i) {
      int32_t y[2][8] = {};
      if (kPerturbed) {
        const PerturbedOutputs outputs = {.a = a + 8 * i * pair_bytes,
                                          .out = p.out,
                                          .projected = projected + 16 * i,
                                          .rows = kRows,
                                          .terms = call_.terms,
                                          .shift = call_.matrix_shift,
                                          .rounding = call_.rounding};
        if (wide)
          perturb<int64_t>(outputs, y);
        else
          perturb<int32_t>(outputs, y);
      }
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int k = 0; k < 8; ++k) y[s][k] = (sum[i][k / 2][2 * s + k % 2] + y[s][k]) >> shift;
      finish(p, 8 * i + g, o, at + 16 * i * p.out, y);
    }
  }

  // y: not yet clipped; at: where it stands in a plane of the product's outputs.
  __device__ void finish(const LayerProduct& p, uint32_t pair, uint32_t o, uint32_t at,
                         int32_t (&y)[2][8]) {
    const uint4 product = clipped_bytes_of_pair(y);
    if (p.finish == Finish::store) {
      store(plane(p.to) + at, product);
      return;
    }
    int32_t sum[2][8];
    if (p.finish == Finish::residual) {
      const uint4 x = load<uint4>(plane(kX) + at);
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int k = 0; k < 8; ++k) sum[s][k] = byte_of_pair(x, s, k) + byte_of_pair(product, s, k);
      store(plane(kX) + at, clipped_bytes_of_pair(sum));
      return;
    }
    const uint4 bias = vector_of_pair(p.vector, pair, o);
    const uint4 other = load<uint4>(plane(p.finish == Finish::forget ? kForget : kCandidate) + at);
    const uint4 state = load<uint4>(plane(kState) + at);
#pragma unroll
    for (int s = 0; s < 2; ++s)
#pragma unroll
      for (int k = 0; k < 8; ++k)
        sum[s][k] =
            byte_of_pair(other, s, k) + byte_of_pair(product, s, k) + byte_of_pair(bias, s, k);
    const uint4 gate = clipped_bytes_of_pair(sum);
    if (p.finish == Finish::forget) {
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int k = 0; k < 8; ++k)
          sum[s][k] = ((byte_of_pair(gate, s, k) + 127) * byte_of_pair(state, s, k)) >> 8;
      store(plane(kForget) + at, gate);
      store(plane(kGated) + at, clipped_bytes_of_pair(sum));
      return;
    }
    const uint4 forget = load<uint4>(plane(kForget) + at);
    const uint4 x = load<uint4>(plane(kX) + at);
    int32_t next[2][8];
#pragma unroll
    for (int s = 0; s < 2; ++s)
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const int32_t h = byte_of_pair(state, s, k);
        next[s][k] =
            h + (((byte_of_pair(forget, s, k) + 127) * (byte_of_pair(gate, s, k) - h)) >> 8);
        sum[s][k] = byte_of_pair(x, s, k) + next[s][k];
      }
    const uint4 next_state = clipped_bytes_of_pair(next);
    if (kShared) store(plane(kState) + at, next_state);
    store(state_of_layer(layer_) + at, next_state);
    store(plane(kX) + at, clipped_bytes_of_pair(sum));
  }

  // ---- scores ----
  __device__ void score_logits(uint32_t token_number) {
    const int8_t* logits = plane(kWide);
    const ScoreTables& tables = memory().score_tables;
    for (uint32_t pair = threadIdx.x / 8; pair < kPairs; pair += kThreads / 8) {
      int32_t sum[2] = {0, 0};  // below 2^28
      for (uint32_t at = 8 * (threadIdx.x % 8); at < 256; at += 64) {
        const uint4 part = load<uint4>(logits + place(pair, at, 256));
#pragma unroll
        for (int s = 0; s < 2; ++s)
#pragma unroll
          for (int k = 0; k < 8; ++k)
            sum[s] += static_cast<int32_t>(exp2_fixed(
                static_cast<uint32_t>(byte_of_pair(part, s, k) + 128), tables.exp2_mantissa));
      }
#pragma unroll
      for (uint32_t s = 0; s < 2; ++s) {
        const uint32_t row = 2 * pair + s;
        const uint32_t all = static_cast<uint32_t>(sum_of_eight(sum[s]));
        if (threadIdx.x % 8 == s)
          score()[row] += logits[place_of_byte(row, target()[row], 256)] + 128 -
                          log2_fixed(all, tables.log2_edge);
      }
    }
    if (kPerturbed || call_.exact_sum == nullptr || threadIdx.x >= count_) return;
    const uint32_t row = threadIdx.x;
    double sums[4] = {};
    for (uint32_t v = 0; v < 256; v += 4)
#pragma unroll
      for (uint32_t i = 0; i < 4; ++i)
        sums[i] += call_.exact_exp2[logits[place_of_byte(row, v + i, 256)] + 128];
    const size_t at = size_t{first_row_ + row} * call_.tokens + token_number;
    call_.exact_sum[at] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    call_.logit_of_target[at] = logits[place_of_byte(row, target()[row], 256)];
  }

  int32_t is_given_up_ = 0;  // as the first thread has read it
};

}  // namespace eggroll::cuda
