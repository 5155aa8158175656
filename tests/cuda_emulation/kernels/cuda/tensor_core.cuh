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
template <typename T>
struct Slot {
  uint32_t a[4], b[2];
  alignas(16) T c[4];
};

template <typename T>
Slot<T>& slot(unsigned char* all, int g, int t) {
  return *reinterpret_cast<Slot<T>*>(all + 64 * (4 * g + t));
}

// C = A B from the fragments of a warp; a register holds `per_register` elements.
template <typename Element, typename T, typename Unpack>
void multiply_all(unsigned char* all, int per_register, Unpack unpack) {
  Element a[16][32] = {}, b[8][32] = {};
  const int half = 4 * per_register;
  for (int g = 0; g < 8; ++g)
    for (int t = 0; t < 4; ++t) {
      const Slot<T>& of_lane = slot<T>(all, g, t);
      for (int k = 0; k < per_register; ++k)
        for (int h = 0; h < 2; ++h) {
          const int column = h * half + per_register * t + k;
          a[g][column] = unpack(of_lane.a[2 * h], k);
          a[g + 8][column] = unpack(of_lane.a[2 * h + 1], k);
          b[g][column] = unpack(of_lane.b[h], k);
        }
    }
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      T sum = 0;
      for (int k = 0; k < 2 * half; ++k) sum += static_cast<T>(a[i][k]) * static_cast<T>(b[j][k]);
      slot<T>(all, i % 8, j / 2).c[i / 8 * 2 + j % 2] = sum;
    }
}

inline void multiply_int8(unsigned char* all) {
  multiply_all<int16_t, int32_t>(all, 4, [](uint32_t word, int k) {
    return static_cast<int16_t>(static_cast<int8_t>(word >> 8 * k));
  });
}
inline void multiply_bf16(unsigned char* all) {
  multiply_all<float, float>(all, 2, [](uint32_t word, int k) {
    return std::bit_cast<float>(k == 0 ? word << 16 : word & 0xffff0000u);
  });
}

template <typename T>
void add_product(T (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                 void (*multiply)(unsigned char*)) {
  const Slot<T> mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}, {}};
  const unsigned char* all = cuda_emulation::exchange_in_warp(&mine, sizeof mine, multiply);
  const auto& from = reinterpret_cast<const Slot<T>*>(all + 64 * cuda_emulation::lane())->c;
  for (int i = 0; i < 4; ++i) c[i] += from[i];
}

}  // namespace emulation

inline void multiply_accumulate(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulation::add_product(c, a, b0, b1, emulation::multiply_int8);
}

inline void multiply_accumulate(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulation::add_product(c, a, b0, b1, emulation::multiply_bf16);
}

}  // namespace eggroll::cuda
