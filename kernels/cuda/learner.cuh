// Device code of the learner: the operands of a product over pairs from their addresses, that product
// on the tensor cores, the sums of elements that have noise of their own, planes of digits, 64-bit
// sums, and the step. Included by learner.cu alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/noise.cuh"
#include "kernels/cuda/tensor_core.cuh"
#include "kernels/update_plan.hpp"

namespace eggroll::cuda {
namespace {

constexpr uint32_t kSplit = 1024;  // terms that one block adds up; the blocks' sums meet in Z
constexpr uint32_t kTile = 128;    // outputs x inputs of a block
constexpr uint32_t kPairsOfThread = 64;

struct Operands {
  NoiseTables tables;
  NoiseAddress at;          // of the tensor; the pair is that of each term
  const ActivePair* pairs;  // of a plane
  uint32_t first_product;   // of noise_rank of the first pair, that the first term is
  uint32_t terms;           // of the stretch
  uint32_t row_bytes;       // terms of a row, filled up with zeros
  uint32_t noise_rank;
  uint32_t in, in_run;    // inputs, and elements up to where the next run of noise begins
  uint32_t out, out_run;  // outputs
  int8_t* left;           // [out, row_bytes], digit A; rows in eights
  int8_t* right;          // [in, row_bytes], B
};

// A thread makes eight elements of four terms: eight rows, four bytes each.
__global__ __launch_bounds__(256) void make_operands(const __grid_constant__ Operands o) {
  NoiseTables& tables = *shared_memory<NoiseTables>();
  copy_tables(o.tables, &tables);
  __syncthreads();
  const uint32_t first_term = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (first_term >= o.row_bytes) return;
  const uint32_t of_inputs = (o.in + 7) / 8, groups = of_inputs + (o.out + 7) / 8;
  for (uint32_t group = blockIdx.y; group < groups; group += gridDim.y) {
    const bool is_left = group >= of_inputs;
    const uint32_t row = 8 * (is_left ? group - of_inputs : group);
    uint32_t words[8] = {};
#pragma unroll
    for (uint32_t k = 0; k < 4; ++k) {
      const uint32_t term = first_term + k;
      if (term >= o.terms) break;
      const uint32_t j = (o.first_product + term) / o.noise_rank;
      const uint32_t q = (o.first_product + term) % o.noise_rank;
      const uint32_t element =
          is_left ? o.noise_rank * o.in_run + q * o.out_run + row : q * o.in_run + row;
      NoiseAddress at = o.at;
      const ActivePair pair = o.pairs[j];
      at.pair = pair.pair;
      const uint2 noise = noise_bytes(tables, at, element / 8);
      const int32_t factor = is_left ? pair.d : 1;
#pragma unroll
      for (int e = 0; e < 8; ++e)
        words[e] |= uint32_t{static_cast<uint8_t>(factor * signed_byte(noise, e))} << 8 * k;
    }
    int8_t* to = (is_left ? o.left : o.right) + size_t{row} * o.row_bytes + first_term;
#pragma unroll
    for (uint32_t e = 0; e < 8; ++e)
      *reinterpret_cast<uint32_t*>(to + size_t{e} * o.row_bytes) = words[e];
  }
}

// z[o, i] += sum over terms of left[o] right[i]. A block of eight warps makes 128 x 128 of z from
// kSplit terms, a warp 64 x 32; the tensor cores' inner index is the term, in any order. Of the rows
// behind the last one anything is made, and left out.
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
      for (uint32_t e = 0; e < 4; ++e) {
        const uint32_t o = first_out + 16 * i + g + 8 * (e / 2);
        const uint32_t k = first_in + 8 * j + 2 * t + e % 2;
        if (o < out && k < in) atomicAdd(z + size_t{o} * in + k, sum[i][j][e]);
      }
}

struct ElementSums {
  NoiseTables tables;
  NoiseAddress at;
  const ActivePair* pairs;
  uint32_t count;  // of pairs
  uint32_t elements;
  uint32_t second_factor;  // of a product: how many blocks of eight it comes behind the first
  int32_t* z;              // [elements]
};

// z_i += sum over pairs of d e_i, or d e_i e_(n + i); a thread adds eight elements over
// kPairsOfThread pairs.
template <Noise kNoise>
__global__ __launch_bounds__(256) void add_elements(const __grid_constant__ ElementSums s) {
  NoiseTables& tables = *shared_memory<NoiseTables>();
  copy_tables(s.tables, &tables);
  __syncthreads();
  const uint32_t blocks = (s.elements + 7) / 8;
  const uint64_t thread = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const auto block = static_cast<uint32_t>(thread % blocks);
  const uint64_t first = thread / blocks * kPairsOfThread;
  if (first >= s.count) return;
  const uint64_t end = first + kPairsOfThread < s.count ? first + kPairsOfThread : s.count;
  int32_t sum[8] = {};
  for (uint64_t j = first; j < end; ++j) {
    NoiseAddress at = s.at;
    const ActivePair pair = s.pairs[j];
    at.pair = pair.pair;
    const uint2 a = noise_bytes(tables, at, block);
    const int32_t d = pair.d;
    if constexpr (kNoise == Noise::product) {
      const uint2 b = noise_bytes(tables, at, s.second_factor + block);
#pragma unroll
      for (int k = 0; k < 8; ++k) sum[k] += d * signed_byte(a, k) * signed_byte(b, k);
    } else {
#pragma unroll
      for (int k = 0; k < 8; ++k) sum[k] += d * signed_byte(a, k);
    }
  }
#pragma unroll
  for (uint32_t k = 0; k < 8; ++k)
    if (8 * block + k < s.elements) atomicAdd(s.z + 8 * block + k, sum[k]);
}

// Z = kPlaneBase Z, before the next lower plane is added: modulo 2^32 or 2^64, as what fits in the end
// may not fit on the way.
template <typename Sum>
__global__ __launch_bounds__(256) void raise_plane(Sum* z, size_t size) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < size) z[i] = static_cast<Sum>(std::make_unsigned_t<Sum>(z[i]) * kPlaneBase);
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

// Steps each weight by its sum, and counts those that change.
template <typename Optimizer, typename Sum, typename Weight, typename... Slots>
__global__ __launch_bounds__(256) void step_weights(const Sum* z, size_t size,
                                                    typename Optimizer::Numbers numbers,
                                                    unsigned long long* changed, Weight* weights,
                                                    Slots*... slots) {
  const size_t i = size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  uint32_t moved = 0;
  if (i < size) moved = Optimizer::step(z[i], numbers, weights[i], slots[i]...);
  for (int lanes = 16; lanes > 0; lanes /= 2) moved += __shfl_xor_sync(0xffffffffu, moved, lanes);
  if (threadIdx.x % 32 == 0 && moved != 0)
    atomicAdd(changed, static_cast<unsigned long long>(moved));
}

}  // namespace
}  // namespace eggroll::cuda
