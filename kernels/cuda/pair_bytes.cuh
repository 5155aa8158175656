// Eight consecutive elements of both members of a pair, sixteen bytes, as they stand in a plane
// (Plane in int_rnn_call.hpp) and as a lane works on them; and the perturbation of eight outputs.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/rules.hpp"
#include "kernels/cuda/noise.cuh"
#include "kernels/cuda/tensor_core.cuh"
#include "kernels/fixed_point.hpp"

namespace eggroll::cuda {

template <typename T>
__device__ inline T load(const int8_t* from) {
  return *reinterpret_cast<const T*>(from);
}
template <typename T>
__device__ inline T load_unchanging(const int8_t* from) {  // while the kernel runs
  return __ldg(reinterpret_cast<const T*>(from));
}
template <typename T>
__device__ inline void store(int8_t* to, const T& value) {
  *reinterpret_cast<T*>(to) = value;
}

// Element k of a member: .x and .z hold those of the first one, .y and .w those of the second.
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

// sum + four products of bytes.
__device__ inline int32_t dot(uint32_t a, uint32_t b, int32_t sum) {
  return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
}
// Over eight lanes that stand side by side; all lanes of the warp call it.
__device__ inline int32_t sum_of_eight(int32_t v) {
  v += __shfl_xor_sync(0xffffffffu, v, 4);
  v += __shfl_xor_sync(0xffffffffu, v, 2);
  return v + __shfl_xor_sync(0xffffffffu, v, 1);
}

// What moves eight outputs of a pair: round((sum_q p_q A_q) / 2^shift), p with the member's sign.
struct PerturbedOutputs {
  const int8_t* a;           // A of the first term at the first of the outputs
  uint32_t out;              // from one term to the next
  const int32_t* projected;  // p of both members, [terms, rows]
  uint32_t rows;
  int terms, shift;
  Rounding rounding;
};

template <bool kFirst, typename Sum>
__device__ inline void add_terms(const int8_t* a, const int32_t* projected, Sum (&sums)[2][8]) {
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
__device__ inline void round_all(const Sum (&sums)[2][8], int shift, int32_t (&moved)[2][8]) {
#pragma unroll
  for (int s = 0; s < 2; ++s)
#pragma unroll
    for (int k = 0; k < 8; ++k)
      moved[s][k] = static_cast<int32_t>(round_shift(sums[s][k], shift, rounding));
}
// Sum: int32_t, or int64_t where the sums need it (needs_64_bits). Whether they are rounded one way
// or the other is one decision for all sixteen.
template <typename Sum>
__device__ inline void perturb(const PerturbedOutputs& o, int32_t (&moved)[2][8]) {
  Sum sums[2][8];
  add_terms<true>(o.a, o.projected, sums);
  for (uint32_t q = 1; q < static_cast<uint32_t>(o.terms); ++q)
    add_terms<false>(o.a + size_t{q} * o.out, o.projected + q * o.rows, sums);
  if (o.rounding == Rounding::nearest)
    round_all<Rounding::nearest>(sums, o.shift, moved);
  else
    round_all<Rounding::floor>(sums, o.shift, moved);
}

}  // namespace eggroll::cuda
