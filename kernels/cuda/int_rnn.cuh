// Device code of the integer model: a block of threads and its rows, from the first token to the
// last. Rows are members, two of a pair next to each other, or streams under the unperturbed model.
//
// A product is made by warps of 32 outputs each, over all rows of the block, so a block reads every
// weight once a token. The tensor cores take 16 rows x 32 inputs x 8 outputs at a time. The order
// of inputs inside 64 and that of outputs inside 32 are free, and so is which row is which: they
// are chosen so that what a lane loads with one instruction, 16 bytes of both members of a pair or
// of a weight's row, is what the tensor cores want of it, and that it ends up with 8 consecutive
// outputs of a pair, which shares its noise.
//
// One file, although a long one: the device code of one kernel, whose parts share the planes and
// the order of bytes in them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/int_rnn_call.hpp"
#include "kernels/cuda/tensor_core.cuh"

namespace eggroll::cuda {

// What becomes of a product's outputs y.
enum class Finish {
  store,     // into a plane
  forget,    // f = clip8(fx + y + bias) and the gated state
  update,    // the new state, and x plus it
  residual,  // x = clip8(x + y)
};

struct Product {
  uint32_t tensor;  // index in the layout
  const int8_t* weights;
  uint32_t out, in;
  uint32_t from;         // plane of the inputs
  int32_t* projections;  // [r, rows]
  Finish finish;
  uint32_t to;      // store: plane of the outputs
  uint32_t vector;  // forget, update: number of the bias
};

// Eight consecutive elements of both members of a pair: .x and .z of the first, .y and .w of the
// second one.
__device__ inline int32_t byte_of_pair(const uint4& bytes, int member, int k) {
  const uint32_t low = member == 0 ? bytes.x : bytes.y, high = member == 0 ? bytes.z : bytes.w;
  return signed_byte(k < 4 ? low : high, k % 4);
}
// Each clipped to +-127.
__device__ inline uint4 clipped_bytes_of_pair(const int32_t (&v)[2][8]) {
  uint32_t words[4];
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    const int32_t(&from)[8] = v[word % 2];
    int32_t kept[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int32_t value = from[4 * (word / 2) + k];
      kept[k] = value < -127 ? -127 : value;
    }
    words[word] = saturated_bytes(kept[0], kept[1], kept[2], kept[3]);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

template <int kTiles, bool kPerturbed, bool kShared>
class BlockOfRows {
 public:
  static constexpr uint32_t kRows = 16 * kTiles, kPairs = 8 * kTiles;
  static_assert(kRows % 32 == 0 && kRows <= kThreads);

  __device__ explicit BlockOfRows(const RowsCall& call)
      : call_(call),
        width_(call.width),
        noise_(call.noise + blockIdx.x * call.noise_bytes),
        working_states_(call.working_states +
                        size_t{blockIdx.x} * call.layers * kRows * call.width),
        activations_(kShared ? nullptr
                             : call.activations +
                                   blockIdx.x * activation_bytes(kRows, call.width, call.terms)),
        noise_layout_{call.layers, call.width, static_cast<uint32_t>(call.terms), kPairs} {}

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
  // ---- memory ----
  __device__ BlockMemory& memory() const { return *shared_memory<BlockMemory>(); }
  __device__ int32_t* score() const { return reinterpret_cast<int32_t*>(&memory() + 1); }
  __device__ uint8_t* token() const { return reinterpret_cast<uint8_t*>(score() + kRows); }
  __device__ uint8_t* target() const { return token() + kRows; }
  __device__ int8_t* plane(uint32_t which) const {
    return !kShared && which == kState ? state_of_layer(layer_) : room_of_plane(which);
  }
  __device__ int8_t* room_of_plane(uint32_t which) const {
    return (kShared ? shared_memory<int8_t>() + shared_bytes_before_activations(kRows)
                    : activations_) +
           which * kRows * width_;
  }
  __device__ int8_t* state_of_layer(uint32_t layer) const {
    return working_states_ + size_t{layer} * kRows * width_;
  }
  // Where the elements `at` ... at + 7 (at a multiple of 8) of a pair stand in a plane of rows of n
  // elements. Every other pair is turned, so that what a warp loads or stores at a time lies in
  // different banks: of two pairs four parts 32 bytes apart, or four that follow each other.
  __device__ static uint32_t place(uint32_t pair, uint32_t at, uint32_t n) {
    return 2 * pair * n + (2 * at ^ (pair % 2 * 80));
  }
  __device__ static uint32_t place_of_byte(uint32_t row, uint32_t at, uint32_t n) {
    return place(row / 2, at & ~7u, n) + at % 8 / 4 * 8 + row % 2 * 4 + at % 4;
  }
  template <typename T>
  __device__ static T load(const int8_t* from) {
    return *reinterpret_cast<const T*>(from);
  }
  template <typename T>
  __device__ static void store(int8_t* to, const T& value) {
    *reinterpret_cast<T*>(to) = value;
  }
  // Elements at ... at + 7 of a vector, as both members of a pair have them.
  __device__ uint4 vector_of_pair(uint32_t vector, uint32_t pair, uint32_t at) const {
    if (kPerturbed)
      return load<uint4>(noise_ + noise_layout_.vector(vector) + 2 * (size_t{pair} * width_ + at));
    const uint2 both = load<uint2>(vector_parameters(vector) + at);
    return make_uint4(both.x, both.x, both.y, both.y);
  }
  __device__ const int8_t* vector_parameters(uint32_t vector) const {
    return call_.parameters + size_t{512} * width_ +
           (size_t{12} * call_.layers * width_ + vector) * width_;
  }
  __device__ const int8_t* matrix_noise(uint32_t tensor, uint32_t pair, uint32_t in,
                                        uint32_t out) const {
    return noise_ + noise_layout_.matrix(tensor) +
           size_t{pair} * static_cast<uint32_t>(call_.terms) * (in + out);
  }

  // ---- a generation of these rows ----
  __device__ bool run_rows() {
    if (kPerturbed) make_noise();
    move_states<true>();
    if (threadIdx.x < kRows) score()[threadIdx.x] = 0;
    int32_t is_given_up = 0;
    for (uint32_t k = 0; k < call_.tokens; ++k) {
      if (threadIdx.x == 0) {
        memory().is_given_up = is_given_up;
        // In the host's memory, far away: what is read here is looked at a token later.
        if (call_.give_up != nullptr)
          is_given_up = *static_cast<const volatile int32_t*>(call_.give_up);
      }
      if (threadIdx.x < kRows) read_token(threadIdx.x, k);
      __syncthreads();
      if (memory().is_given_up) return false;
      reset_rows_at_boundaries();
      embed();
      __syncthreads();
      run_model();
      score_logits(k);
      __syncthreads();
    }
    if (call_.logits != nullptr && first_row_ == 0 && threadIdx.x < 256)
      call_.logits[threadIdx.x] = plane(kWide)[place_of_byte(0, threadIdx.x, 256)];
    move_states<false>();
    if (call_.score != nullptr && threadIdx.x < count_)
      call_.score[first_row_ + threadIdx.x] = score()[threadIdx.x];
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
        if (first == 0) load_layer_state();
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

  static constexpr uint32_t kHeadProduct = 6;  // after a layer's six
  __device__ Product product(uint32_t which) const {
    const uint32_t square = which <= 4 ? which : 8;  // W1 has four times the rows
    Product p;
    p.tensor = which == kHeadProduct ? 1 : 2 + 6 * layer_ + which;
    p.weights =
        call_.parameters + (which == kHeadProduct
                                ? size_t{256} * width_
                                : (size_t{512} + (size_t{12} * layer_ + square) * width_) * width_);
    p.out = which == 4 ? 4 * width_ : which == kHeadProduct ? 256 : width_;
    p.in = which == 5 ? 4 * width_ : width_;
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

  __device__ void read_token(uint32_t row, uint32_t k) {
    if (row >= count_) {
      token()[row] = target()[row] = 1;
      return;
    }
    const uint32_t of_text = kPerturbed ? call_.text_row[(first_row_ + row) / 2] : first_row_ + row;
    const uint8_t* text = call_.text + size_t{of_text} * (call_.tokens + 1) + k;
    token()[row] = text[0];
    target()[row] = text[1];
  }

  // ---- states ----
  // Between the slots and this block's own, four elements at a time.
  template <bool kLoads>
  __device__ void move_states() {
    if (!kLoads && call_.slots_per_pair == 0) return;
    const uint32_t parts = width_ / 4;
    for (uint32_t i = threadIdx.x; i < kRows * call_.layers * parts; i += kThreads) {
      const uint32_t part = i % parts, layer = i / parts % call_.layers,
                     row = i / parts / call_.layers;
      const size_t slot =
          size_t{first_row_ + row} * static_cast<uint32_t>(call_.slots_per_pair) / 2;
      int8_t* const in_slot = call_.states + (slot * call_.layers + layer) * width_ + 4 * part;
      int8_t* const own = state_of_layer(layer) + place_of_byte(row, 4 * part, width_);
      const bool has_slot = row < count_ && call_.slots_per_pair != 0;
      if (kLoads)
        store(own, has_slot ? load<uint32_t>(in_slot) : 0u);
      else if (has_slot &&
               (call_.saved_parity < 0 || row % 2 == static_cast<uint32_t>(call_.saved_parity)))
        store(in_slot, load<uint32_t>(own));
    }
  }
  __device__ void load_layer_state() {
    if (!kShared) return;  // it is where the product reads it
    const int8_t* from = state_of_layer(layer_);
    for (uint32_t i = 16 * threadIdx.x; i < kRows * width_; i += 16 * kThreads)
      store(plane(kState) + i, load<uint4>(from + i));
  }
  // A zero byte as input starts a new document.
  __device__ void reset_rows_at_boundaries() {
    for (uint32_t row = threadIdx.x / 32; row < kRows; row += kWarps) {
      if (token()[row] != 0) continue;
      for (uint32_t layer = 0; layer < call_.layers; ++layer)
        for (uint32_t at = 4 * (threadIdx.x % 32); at < width_; at += 4 * 32)
          store(state_of_layer(layer) + place_of_byte(row, at, width_), 0u);
    }
  }

  // ---- noise ----
  __device__ void make_noise() {
    for (uint32_t t = 0; t < 2 + 6 * call_.layers; ++t) {
      const uint32_t which = t < 2 ? kHeadProduct : (t - 2) % 6;
      const uint32_t in = which == 5 ? 4 * width_ : width_;
      const uint32_t out = which == 4 ? 4 * width_ : which == kHeadProduct ? 256 : width_;
      const uint32_t blocks = static_cast<uint32_t>(call_.terms) * (in + out) / 8;
      int8_t* to = noise_ + noise_layout_.matrix(t);
      for (uint32_t i = threadIdx.x; i < count_ / 2 * blocks; i += kThreads)
        store(to + size_t{8} * i,
              noise_bytes(memory().noise_tables, address(t, i / blocks), i % blocks));
    }
    for (uint32_t v = 0; v <= 4 * call_.layers; ++v) make_vectors(v);
  }
  __device__ NoiseAddress address(uint32_t tensor, uint32_t pair) const {
    return {call_.seed, call_.noise_epoch, tensor, call_.pair[first_row_ / 2 + pair]};
  }
  // Biases and norm weights of each member, perturbed.
  __device__ void make_vectors(uint32_t vector) {
    const uint32_t blocks = width_ / 8;
    for (uint32_t i = threadIdx.x; i < count_ / 2 * blocks; i += kThreads) {
      const uint32_t pair = i / blocks, block = i % blocks;
      const NoiseAddress at = address(2 + 6 * call_.layers + vector, pair);
      const uint2 v = noise_bytes(memory().noise_tables, at, block);
      const uint2 w = noise_bytes(memory().noise_tables, at, blocks + block);
      const uint2 p = load<uint2>(vector_parameters(vector) + 8 * block);
      int32_t members[2][8];
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        const int32_t z = signed_byte(v, k) * signed_byte(w, k);
#pragma unroll
        for (int s = 0; s < 2; ++s)
          members[s][k] =
              signed_byte(p, k) + round_shift(s == 0 ? z : -z, call_.vector_shift, call_.rounding);
      }
      store(noise_ + noise_layout_.vector(vector) + size_t{16} * i, clipped_bytes_of_pair(members));
    }
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
  __device__ void project(const Product& p) {
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
  __device__ static int32_t dot(uint32_t a, uint32_t b, int32_t sum) {
    return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
  }
  __device__ static int32_t sum_of_eight(int32_t v) {
    v += __shfl_xor_sync(0xffffffffu, v, 4);
    v += __shfl_xor_sync(0xffffffffu, v, 2);
    return v + __shfl_xor_sync(0xffffffffu, v, 1);
  }

  // clip8((u W^T + perturbation) >> shift), finished as the product says.
  __device__ void multiply(const Product& p) {
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
      for (uint32_t j = 0; j < 4; ++j) next[j] = load_weights(weights + size_t{2 * j} * p.in);
      for (uint32_t k = 0; k < p.in; k += 64) {
        uint4 w[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) w[j] = next[j];
        if (k + 64 < p.in) {
#pragma unroll
          for (uint32_t j = 0; j < 4; ++j)
            next[j] = load_weights(weights + size_t{2 * j} * p.in + k + 64);
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
  __device__ static uint4 load_weights(const int8_t* from) {
    return __ldg(reinterpret_cast<const uint4*>(from));
  }

  // Outputs o ... o + 7 of pair 8 i + g of each tile i.
  __device__ void finish_slice(const Product& p, uint32_t o, uint32_t g,
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
        if (wide)
          perturb<int64_t>(a + 8 * i * pair_bytes, p.out, projected + 16 * i, y);
        else
          perturb<int32_t>(a + 8 * i * pair_bytes, p.out, projected + 16 * i, y);
      }
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int k = 0; k < 8; ++k) y[s][k] = (sum[i][k / 2][2 * s + k % 2] + y[s][k]) >> shift;
      finish(p, 8 * i + g, o, at + 16 * i * p.out, y);
    }
  }
  // Where the perturbation is rounded one way or the other is one decision for all sixteen.
  template <typename Sum>
  __device__ void perturb(const int8_t* a, uint32_t out, const int32_t* projected,
                          int32_t (&moved)[2][8]) const {
    Sum sums[2][8];
    add_terms<true>(a, projected, sums);
    for (int q = 1; q < call_.terms; ++q)
      add_terms<false>(a + size_t{static_cast<uint32_t>(q)} * out,
                       projected + q * static_cast<int>(kRows), sums);
    if (call_.rounding == Rounding::nearest)
      round_all<Rounding::nearest>(sums, moved);
    else
      round_all<Rounding::floor>(sums, moved);
  }
  template <bool kFirst, typename Sum>
  __device__ static void add_terms(const int8_t* a, const int32_t* projected, Sum (&sums)[2][8]) {
    const uint2 noise = load<uint2>(a);
#pragma unroll
    for (int s = 0; s < 2; ++s) {
      const Sum factor = projected[s];
#pragma unroll
      for (int k = 0; k < 8; ++k)
        sums[s][k] = (kFirst ? Sum{0} : sums[s][k]) + factor * signed_byte(noise, k);
    }
  }
  template <Rounding rounding, typename Sum>
  __device__ void round_all(const Sum (&sums)[2][8], int32_t (&moved)[2][8]) const {
#pragma unroll
    for (int s = 0; s < 2; ++s)
#pragma unroll
      for (int k = 0; k < 8; ++k)
        moved[s][k] = static_cast<int32_t>(round_shift(sums[s][k], call_.matrix_shift, rounding));
  }

  // y: not yet clipped; at: where it stands in a plane of the product's outputs.
  __device__ void finish(const Product& p, uint32_t pair, uint32_t o, uint32_t at,
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

  const RowsCall& call_;
  const uint32_t width_;
  int8_t* const noise_;
  int8_t* const working_states_;
  int8_t* const activations_;
  const BlockNoise noise_layout_;
  uint32_t first_row_ = 0, count_ = 0, layer_ = 0;
};

}  // namespace eggroll::cuda
