// Device code of the update: the operands of a product over pairs from their addresses, that
// product on the tensor cores, the sums of vectors, 64-bit sums, and the step. Included by
// update.cu alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/noise.cuh"
#include "kernels/cuda/tensor_core.cuh"
#include "kernels/fixed_point.hpp"

namespace eggroll::cuda {
namespace {

constexpr uint32_t kSplit = 1024;  // terms that one block adds up; the blocks' sums meet in Z
constexpr uint32_t kTile = 128;    // outputs x inputs of a block
constexpr uint32_t kPairsOfThread = 64;

struct Operands {
  NoiseTables tables;
  NoiseAddress at;  // of the tensor; the pair is that of each term
  const uint32_t* pair;
  const int8_t* d;
  uint32_t terms;      // of the stretch
  uint32_t row_bytes;  // terms of a row, filled up with zeros
  uint32_t noise_rank, in, out;
  int8_t* left;   // [out, row_bytes], d A
  int8_t* right;  // [in, row_bytes], B
};

// A thread makes eight elements of four terms: eight rows, four bytes each.
__global__ __launch_bounds__(256) void make_operands(const __grid_constant__ Operands o) {
  NoiseTables& tables = *shared_memory<NoiseTables>();
  copy_tables(o.tables, &tables);
  __syncthreads();
  const uint32_t first_term = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (first_term >= o.row_bytes) return;
  const bool is_left = 8 * blockIdx.y >= o.in;
  const uint32_t row = is_left ? 8 * blockIdx.y - o.in : 8 * blockIdx.y;
  uint32_t words[8] = {};
#pragma unroll
  for (uint32_t k = 0; k < 4; ++k) {
    const uint32_t term = first_term + k;
    if (term >= o.terms) break;
    const uint32_t j = term / o.noise_rank, q = term % o.noise_rank;
    const uint32_t element = is_left ? o.noise_rank * o.in + q * o.out + row : q * o.in + row;
    NoiseAddress at = o.at;
    at.pair = o.pair[j];
    const uint2 noise = noise_bytes(tables, at, element / 8);
    const int32_t factor = is_left ? o.d[j] : 1;
#pragma unroll
    for (int e = 0; e < 8; ++e)
      words[e] |= uint32_t{static_cast<uint8_t>(factor * signed_byte(noise, e))} << 8 * k;
  }
  int8_t* to = (is_left ? o.left : o.right) + size_t{row} * o.row_bytes + first_term;
#pragma unroll
  for (uint32_t e = 0; e < 8; ++e)
    *reinterpret_cast<uint32_t*>(to + size_t{e} * o.row_bytes) = words[e];
}

// z[o, i] += sum over terms of left[o] right[i]. A block of eight warps makes 128 x 128 of z from
// kSplit terms, a warp 64 x 32; the tensor cores' inner index is the term, in any order.
__global__ __launch_bounds__(256) void add_product(const int8_t* left, const int8_t* right,
                                                   uint32_t out, uint32_t in, uint32_t row_bytes,
                                                   int32_t* z) {
  const uint32_t warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const uint32_t first_out = kTile * blockIdx.y + 64 * (warp / 4);
  const uint32_t first_in = kTile * blockIdx.x + 32 * (warp % 4);
  if (first_out >= out || first_in >= in) return;
  const uint32_t begin = kSplit * blockIdx.z;
  const uint32_t end = begin + kSplit < row_bytes ? begin + kSplit : row_bytes;
  int32_t sum[4][4][4] = {};
  const int8_t* l = left + size_t{first_out + g} * row_bytes + 16 * t;
  const int8_t* r = right + size_t{first_in + g} * row_bytes + 16 * t;
  const auto load = [row_bytes](const int8_t* from, uint32_t row, uint32_t term) {
    return __ldg(reinterpret_cast<const uint4*>(from + size_t{row} * row_bytes + term));
  };
  for (uint32_t term = begin; term < end; term += 64) {
    uint4 b[4];
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) b[j] = load(r, 8 * j, term);
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) {
      const uint4 upper = load(l, 16 * i, term), lower = load(l, 16 * i + 8, term);
      const uint32_t low[4] = {upper.x, lower.x, upper.y, lower.y};
      const uint32_t high[4] = {upper.z, lower.z, upper.w, lower.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        multiply_accumulate(sum[i][j], low, b[j].x, b[j].y);
        multiply_accumulate(sum[i][j], high, b[j].z, b[j].w);
      }
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i)
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j)
#pragma unroll
      for (uint32_t e = 0; e < 4; ++e)
        atomicAdd(z + size_t{first_out + 16 * i + g + 8 * (e / 2)} * in + first_in + 8 * j + 2 * t +
                      e % 2,
                  sum[i][j][e]);
}

struct VectorSums {
  NoiseTables tables;
  NoiseAddress at;
  const uint32_t* pair;
  const int8_t* d;
  uint32_t pairs, length;
  int32_t* z;  // [length]
};

// z_i += sum over pairs of d v_i v_{n + i}; a thread adds eight elements over kPairsOfThread pairs.
__global__ __launch_bounds__(256) void add_vectors(const __grid_constant__ VectorSums v) {
  NoiseTables& tables = *shared_memory<NoiseTables>();
  copy_tables(v.tables, &tables);
  __syncthreads();
  const uint32_t blocks = v.length / 8;
  const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  const uint32_t block = thread % blocks;
  const uint32_t first = thread / blocks * kPairsOfThread;
  if (first >= v.pairs) return;
  const uint32_t end = first + kPairsOfThread < v.pairs ? first + kPairsOfThread : v.pairs;
  int32_t sum[8] = {};
  for (uint32_t j = first; j < end; ++j) {
    NoiseAddress at = v.at;
    at.pair = v.pair[j];
    const uint2 a = noise_bytes(tables, at, block), b = noise_bytes(tables, at, blocks + block);
    const int32_t d = v.d[j];
#pragma unroll
    for (int k = 0; k < 8; ++k) sum[k] += d * signed_byte(a, k) * signed_byte(b, k);
  }
#pragma unroll
  for (int k = 0; k < 8; ++k) atomicAdd(v.z + 8 * block + k, sum[k]);
}

// wide += z, and z becomes zero.
__global__ __launch_bounds__(256) void move_to_wide(int32_t* z, int64_t* wide, size_t size) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= size) return;
  wide[i] += z[i];
  z[i] = 0;
}

__global__ __launch_bounds__(256) void find_largest(const int64_t* wide, size_t size,
                                                    unsigned long long* largest) {
  unsigned long long mine = 0;
  for (size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size;
       i += size_t{gridDim.x} * blockDim.x) {
    const unsigned long long magnitude =
        static_cast<unsigned long long>(wide[i] < 0 ? -wide[i] : wide[i]);
    if (magnitude > mine) mine = magnitude;
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const unsigned long long other = __shfl_xor_sync(0xffffffffu, mine, lanes);
    if (other > mine) mine = other;
  }
  if (threadIdx.x % 32 == 0) atomicMax(largest, mine);
}

__global__ __launch_bounds__(256) void narrow_sums(const int64_t* wide, int32_t* z, size_t size) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < size) z[i] = static_cast<int32_t>(wide[i]);
}

template <typename Sum>
__global__ __launch_bounds__(256) void step_parameters(const Sum* z, size_t size, int64_t threshold,
                                                       int32_t* accumulators, int8_t* parameters,
                                                       unsigned long long* changed) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  uint32_t moved = 0;
  if (i < size)
    moved = accumulators == nullptr
                ? step_by_sign(z[i], threshold, parameters[i])
                : step_by_evidence(z[i], threshold, accumulators[i], parameters[i]);
  for (int lanes = 16; lanes > 0; lanes /= 2) moved += __shfl_xor_sync(0xffffffffu, moved, lanes);
  if (threadIdx.x % 32 == 0 && moved != 0)
    atomicAdd(changed, static_cast<unsigned long long>(moved));
}

}  // namespace
}  // namespace eggroll::cuda
