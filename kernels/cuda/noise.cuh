// The noise law of common/noise.hpp in kernels: the same blocks, and its tables in shared memory,
// where the 32 words of each stand in 32 banks, so that look-ups never wait for each other.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "common/noise.hpp"

namespace eggroll::cuda {

// Travels as a parameter of a kernel.
struct NoiseTables {
  int8_t a[128];
  int8_t b[128];
};

inline NoiseTables noise_tables() {
  NoiseTables tables;
  std::copy_n(kNoiseTableA, 128, tables.a);
  std::copy_n(kNoiseTableB, 128, tables.b);
  return tables;
}

// By all threads of a block, which then meet at a barrier.
__device__ inline void copy_tables(const NoiseTables& from, NoiseTables* to) {
  for (unsigned i = threadIdx.x; i < 128; i += blockDim.x) {
    to->a[i] = from.a[i];
    to->b[i] = from.b[i];
  }
}

// The eight elements 8 * block ... of an address, element k in byte k % 4 of .x (k < 4) or .y.
__device__ inline uint2 noise_bytes(const NoiseTables& tables, const NoiseAddress& at,
                                    uint32_t block) {
  const PhiloxBlock random = noise_block(at, block);
  uint32_t word[2] = {0, 0};
#pragma unroll
  for (int k = 0; k < 8; ++k)
    word[k / 4] |= uint32_t{static_cast<uint8_t>(noise_of_block(random, k, tables.a, tables.b))}
                   << 8 * (k % 4);
  return make_uint2(word[0], word[1]);
}

// Byte k of a word as a signed number.
__device__ inline int32_t signed_byte(uint32_t word, int k) {
  return static_cast<int8_t>(word >> 8 * k);
}
__device__ inline int32_t signed_byte(const uint2& words, int k) {
  return signed_byte(k < 4 ? words.x : words.y, k % 4);
}
__device__ inline uint2 packed_bytes(const int32_t (&v)[8]) {
  uint32_t word[2] = {0, 0};
#pragma unroll
  for (int k = 0; k < 8; ++k) word[k / 4] |= uint32_t{static_cast<uint8_t>(v[k])} << 8 * (k % 4);
  return make_uint2(word[0], word[1]);
}

}  // namespace eggroll::cuda
