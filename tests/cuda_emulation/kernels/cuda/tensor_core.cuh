// Stands in for kernels/cuda/tensor_core.cuh: the matrix instructions in plain arithmetic, with the
// fragments that the PTX ISA defines.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

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

namespace emulation {

struct Fragments {
  uint32_t a[4], b[2];
};

inline const unsigned char* exchanged(const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const Fragments mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  return cuda_emulation::exchange_in_warp(&mine, sizeof mine);
}

// The register of lane 4 g + t that holds element `k` of a row (column) of `per_register` elements
// a register.
inline Fragments of_lane(const unsigned char* all, int g, int t) {
  return cuda_emulation::from_lane<Fragments>(all, static_cast<unsigned>(4 * g + t));
}

inline float bf16(uint32_t word, int half) {
  return std::bit_cast<float>(half == 0 ? word << 16 : word & 0xffff0000u);
}

}  // namespace emulation

inline void multiply_accumulate(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const unsigned char* all = emulation::exchanged(a, b0, b1);
  const int g = static_cast<int>(cuda_emulation::lane()) / 4;
  const int t = static_cast<int>(cuda_emulation::lane()) % 4;
  for (int half = 0; half < 2; ++half)
    for (int from = 0; from < 4; ++from) {
      const emulation::Fragments row = emulation::of_lane(all, g, from);
      for (int e = 0; e < 2; ++e) {
        const uint32_t b = emulation::of_lane(all, 2 * t + e, from).b[half];
        c[e] = __dp4a(static_cast<int>(row.a[2 * half]), static_cast<int>(b), c[e]);
        c[2 + e] = __dp4a(static_cast<int>(row.a[2 * half + 1]), static_cast<int>(b), c[2 + e]);
      }
    }
}

inline void multiply_accumulate(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const unsigned char* all = emulation::exchanged(a, b0, b1);
  const int g = static_cast<int>(cuda_emulation::lane()) / 4;
  const int t = static_cast<int>(cuda_emulation::lane()) % 4;
  for (int half = 0; half < 2; ++half)
    for (int from = 0; from < 4; ++from) {
      const emulation::Fragments row = emulation::of_lane(all, g, from);
      for (int e = 0; e < 2; ++e)
        for (int k = 0; k < 2; ++k) {
          const float b = emulation::bf16(emulation::of_lane(all, 2 * t + e, from).b[half], k);
          c[e] += emulation::bf16(row.a[2 * half], k) * b;
          c[2 + e] += emulation::bf16(row.a[2 * half + 1], k) * b;
        }
    }
}

}  // namespace eggroll::cuda
