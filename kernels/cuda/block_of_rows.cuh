// What a block of threads keeps while it runs its rows: where everything stands in shared and
// global memory, the noise and the carried states of the rows, their tokens. Rows are members, two
// of a pair next to each other, or streams under the unperturbed model. int_rnn.cuh computes on it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/int_rnn_call.hpp"
#include "kernels/cuda/pair_bytes.cuh"
#include "kernels/cuda/tensor_core.cuh"

namespace eggroll::cuda {

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

 protected:
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
  // Elements at ... at + 7 of a vector, as both members of a pair have them.
  __device__ uint4 vector_of_pair(uint32_t vector, uint32_t pair, uint32_t at) const {
    if (kPerturbed)
      return load<uint4>(noise_ + noise_layout_.vector(vector) + 2 * (size_t{pair} * width_ + at));
    const uint2 both = load<uint2>(vector_parameters(vector) + at);
    return make_uint4(both.x, both.x, both.y, both.y);
  }
  __device__ const int8_t* vector_parameters(uint32_t vector) const {
    return call_.parameters + offset_of_vectors(call_.layers, width_) + size_t{vector} * width_;
  }
  __device__ const int8_t* matrix_noise(uint32_t tensor, uint32_t pair, uint32_t in,
                                        uint32_t out) const {
    return noise_ + noise_layout_.matrix(tensor) +
           size_t{pair} * static_cast<uint32_t>(call_.terms) * (in + out);
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
    for (uint32_t t = 0; t < noise_layout_.matrices(); ++t) {
      const MatrixShape shape = shape_of(t < 2 ? kHeadProduct : (t - 2) % 6, width_);
      const uint32_t blocks = static_cast<uint32_t>(call_.terms) * (shape.in + shape.out) / 8;
      int8_t* to = noise_ + noise_layout_.matrix(t);
      for (uint32_t i = threadIdx.x; i < count_ / 2 * blocks; i += kThreads)
        store(to + size_t{8} * i,
              noise_bytes(memory().noise_tables, address(t, i / blocks), i % blocks));
    }
    for (uint32_t v = 0; v <= 4 * call_.layers; ++v) make_vectors(v);
  }
  __device__ NoiseAddress address(uint32_t tensor, uint32_t pair) const {
    return {call_.seed, call_.noise_epoch, tensor, call_.first_pair + first_row_ / 2 + pair};
  }
  // Biases and norm weights of each member, perturbed.
  __device__ void make_vectors(uint32_t vector) {
    const uint32_t blocks = width_ / 8;
    for (uint32_t i = threadIdx.x; i < count_ / 2 * blocks; i += kThreads) {
      const uint32_t pair = i / blocks, block = i % blocks;
      const NoiseAddress at = address(noise_layout_.matrices() + vector, pair);
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

  const RowsCall& call_;
  const uint32_t width_;
  int8_t* const noise_;
  int8_t* const working_states_;
  int8_t* const activations_;
  const BlockNoiseLayout noise_layout_;
  uint32_t first_row_ = 0, count_ = 0, layer_ = 0;
};

}  // namespace eggroll::cuda
