// Stands in for kernels/cuda/tensor_core.cuh: the matrix instructions in plain arithmetic, with the
// fragments that the PTX ISA defines.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

#include "kernels/bfloat16.hpp"

namespace eggroll::cuda {

extern unsigned char eggroll_shared[];

template <typename T>
T* shared_memory() {
  return reinterpret_cast<T*>(eggroll_shared);
}

inline uint32_t saturated_bytes(int32_t v0, int32_t v1, int32_t v2, int32_t v3) {
  uint32_t all = 0;
  for (const int32_t v : {v3, v2, v1, v0})
    all = all << 8 | static_cast<uint8_t>(v > 127 ? 127 : v < -128 ? -128 : v);
  return all;
}

inline uint2 wide_product(uint32_t a, uint32_t b) {
  const uint64_t product = uint64_t{a} * b;
  return make_uint2(static_cast<uint32_t>(product), static_cast<uint32_t>(product >> 32));
}

inline uint32_t with_second_byte(uint32_t word, uint32_t from, int k) {
  return (word & 0xffff00ffu) | (from >> 8 * k & 0xffu) << 8;
}

inline uint32_t packed_bf16(float low, float high) {
  return bf16_of_float(low) | uint32_t{bf16_of_float(high)} << 16;
}

namespace emulation {

// What a lane gives, and what it gets: its part of A B.
struct Slot {
  uint32_t a[4], b[2];
  alignas(16) int32_t c[4];
};

inline Slot& slot(unsigned char* all, int g, int t) {
  return *reinterpret_cast<Slot*>(all + 64 * (4 * g + t));
}

// C = A B from the fragments of a warp.
inline void multiply_all(unsigned char* all) {
  int16_t a[16][32], b[8][32];
  const auto unpack = [](uint32_t word, int k) {
    return static_cast<int16_t>(static_cast<int8_t>(word >> 8 * k));
  };
  for (int g = 0; g < 8; ++g)
    for (int t = 0; t < 4; ++t)
      for (int k = 0; k < 4; ++k)
        for (int half = 0; half < 2; ++half) {
          const Slot& lane = slot(all, g, t);
          const int column = 16 * half + 4 * t + k;
          a[g][column] = unpack(lane.a[2 * half], k);
          a[g + 8][column] = unpack(lane.a[2 * half + 1], k);
          b[g][column] = unpack(lane.b[half], k);
        }
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      int32_t sum = 0;
      for (int k = 0; k < 32; ++k) sum += a[i][k] * b[j][k];
      slot(all, i % 8, j / 2).c[i / 8 * 2 + j % 2] = sum;
    }
}

}  // namespace emulation

inline void multiply_accumulate(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const emulation::Slot mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}, {}};
  const unsigned char* all =
      cuda_emulation::exchange_in_warp(&mine, sizeof mine, emulation::multiply_all);
  const auto& product =
      reinterpret_cast<const emulation::Slot*>(all + 64 * cuda_emulation::lane())->c;
  for (int i = 0; i < 4; ++i) c[i] += product[i];
}

}  // namespace eggroll::cuda
