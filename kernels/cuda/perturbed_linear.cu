// Writes the perturbation of a tile into y, then has the product added to it.
//
// A block makes a pair: x B_j for both members, a sum of all threads, then (x B_j) A_j^T. Noise is
// most of the work, so its tables stand in shared memory as floats, once for every lane of a warp
// in that lane's own bank: a look-up never waits for another, and the address is one byte put
// between the bytes of another word.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "common/check.hpp"
#include "common/noise.hpp"
#include "kernels/cuda/noise.cuh"
#include "kernels/cuda/perturbed_linear.hpp"
#include "kernels/cuda/tensor_core.cuh"

namespace eggroll::cuda {
namespace {

constexpr uint32_t kThreads = 256, kWarps = kThreads / 32;
constexpr int kBlocksOfMultiprocessor = 4;  // registers: 64 a thread; shared memory: 132 KiB
constexpr uint32_t kRowBytes = 256;         // of an index: table A for 32 lanes, then table B
constexpr uint32_t kTableB = 128;

struct PhiloxKeys {
  uint32_t of_round[kPhiloxRounds][2];
};

struct LinearPerturbation {
  NoiseTables tables;
  PhiloxKeys keys;
  NoiseAddress first;  // of the first pair
  uint32_t members, in, out, noise_rank;
  float scale;  // sigma / (256 sqrt(r)): elements of A and of B are sixteenths
  const uint16_t* x;
  uint16_t* y;
};

struct SharedMemory {
  unsigned char tables[128 * kRowBytes];
  float partial[kWarps][8];  // of each warp: a few terms, both members of each
  float2 projected[1];       // scale s x B of both members, of each of the r terms
};

// Rolled up: unrolled, the compiler adds up addresses in the loops that follow.
__device__ inline void fill_tables(const NoiseTables& from, unsigned char* to) {
  constexpr uint32_t kParts = kRowBytes / 16;
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < 128 * kParts; i += kThreads) {
    const int8_t* const table = i % kParts < kTableB / 16 ? from.a : from.b;
    const uint32_t bits = __float_as_uint(static_cast<float>(table[i / kParts]));
    reinterpret_cast<uint4*>(to)[i] = make_uint4(bits, bits, bits, bits);
  }
}

PhiloxKeys philox_keys(uint64_t seed) {
  PhiloxKeys keys;
  for (uint32_t round = 0; round < kPhiloxRounds; ++round) {
    keys.of_round[round][0] = static_cast<uint32_t>(seed) + round * kPhiloxWeyl0;
    keys.of_round[round][1] = static_cast<uint32_t>(seed >> 32) + round * kPhiloxWeyl1;
  }
  return keys;
}

// noise_block() of common/noise.hpp with what a pair's blocks share of the first three rounds made
// once: tensor, pair and epoch are three of the four words that go in, and keys are constants.
class PairNoise {
 public:
  __device__ PairNoise(const PhiloxKeys& keys, const NoiseAddress& at) : keys_(keys) {
    const uint2 first = wide_product(kPhiloxMultiplier1, at.tensor);
    const uint2 second = wide_product(kPhiloxMultiplier0, first.y ^ at.pair ^ keys.of_round[0][0]);
    first_ = at.epoch ^ keys.of_round[0][1];
    second_[0] = first.x ^ keys.of_round[1][0];
    second_[1] = second.y ^ keys.of_round[1][1];
    third_ = second.x ^ keys.of_round[2][1];
  }
  __device__ PhiloxBlock block(uint32_t number) const {
    const uint2 first = wide_product(kPhiloxMultiplier0, number);
    const uint2 second = wide_product(kPhiloxMultiplier1, first.y ^ first_);
    PhiloxBlock c = {{second.y ^ second_[0], second.x, first.x ^ second_[1], 0}};
#pragma unroll
    for (int round = 2; round < kPhiloxRounds; ++round) {
      const uint2 p0 = wide_product(kPhiloxMultiplier0, c.word[0]);
      const uint2 p1 = wide_product(kPhiloxMultiplier1, c.word[2]);
      c = {{p1.y ^ c.word[1] ^ keys_.of_round[round][0], p1.x,
            round == 2 ? p0.y ^ third_ : p0.y ^ c.word[3] ^ keys_.of_round[round][1], p0.x}};
    }
    return c;
  }

 private:
  const PhiloxKeys& keys_;
  uint32_t first_, second_[2], third_;
};

// The eight elements 8 * block ... of a pair. lane_bytes: 4 times the lane.
__device__ inline void make_noise(const unsigned char* tables, uint32_t lane_bytes,
                                  const PairNoise& noise, uint32_t block, float (&value)[8]) {
  const PhiloxBlock random = noise.block(block);
  const auto look_up = [tables](uint32_t offset) {
    return *reinterpret_cast<const float*>(tables + offset);
  };
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const uint32_t a = random.word[k / 4] & 0x7f7f7f7fu;
    const uint32_t b = random.word[2 + k / 4] & 0x7f7f7f7fu;
    value[k] = look_up(with_second_byte(lane_bytes, a, k % 4)) +
               look_up(with_second_byte(lane_bytes, b, k % 4) + kTableB);
  }
}

__device__ inline void unpack(const uint4& packed, float (&value)[8]) {
  const uint32_t word[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    value[2 * k] = __uint_as_float(word[k] << 16);
    value[2 * k + 1] = __uint_as_float(word[k] & 0xffff0000u);
  }
}

// Sums over a warp: lane l gets that of value l / (32 / kCount).
template <uint32_t kCount>
__device__ float sum_in_warp(float (&value)[kCount]) {
  uint32_t distance = 16;
#pragma unroll
  for (uint32_t count = kCount; count > 1; count /= 2, distance /= 2) {
    const bool is_upper = (threadIdx.x & distance) != 0;
#pragma unroll
    for (uint32_t i = 0; i < count / 2; ++i) {
      const float keep = is_upper ? value[i + count / 2] : value[i];
      const float give = is_upper ? value[i] : value[i + count / 2];
      value[i] = keep + __shfl_xor_sync(0xffffffffu, give, static_cast<int>(distance));
    }
  }
#pragma unroll
  for (; distance > 0; distance /= 2)
    value[0] += __shfl_xor_sync(0xffffffffu, value[0], static_cast<int>(distance));
  return value[0];
}

// kTerms: how many terms a pass over x makes; divides noise_rank, and is all of it in a single pass.
template <uint32_t kTerms, bool kSinglePass>
__global__ __launch_bounds__(kThreads, kBlocksOfMultiprocessor) void write_perturbation(
    const __grid_constant__ LinearPerturbation p) {
  SharedMemory& shared = *shared_memory<SharedMemory>();
  const unsigned char* tables = shared.tables;
  const uint32_t lane_bytes = 4 * (threadIdx.x % 32);
  const uint32_t in_blocks = p.in / 8, out_blocks = p.out / 8;
  const uint32_t noise_rank = kSinglePass ? kTerms : p.noise_rank;
  const uint4* x[2];
  uint4 next[2] = {};  // inputs of both members, on their way while others are worked on
  const auto choose_pair = [&](uint32_t even) {
    const uint32_t odd = even + 1 < p.members ? even + 1 : even;
    x[0] = reinterpret_cast<const uint4*>(p.x + size_t{even} * p.in);
    x[1] = reinterpret_cast<const uint4*>(p.x + size_t{odd} * p.in);
  };
  const auto load = [&](uint32_t block) {
    if (block >= in_blocks) return;
    next[0] = __ldg(x[0] + block);
    next[1] = __ldg(x[1] + block);
  };
  choose_pair(2 * blockIdx.x);
  load(threadIdx.x);
  fill_tables(p.tables, shared.tables);
  __syncthreads();
  for (uint32_t even = 2 * blockIdx.x; even < p.members; even += 2 * gridDim.x) {
    NoiseAddress at = p.first;
    at.pair += even / 2;
    const PairNoise noise(p.keys, at);
    choose_pair(even);

    for (uint32_t first = 0; first < noise_rank; first += kTerms) {
      float sum[2 * kTerms] = {};
      if (first != 0 || even != 2 * blockIdx.x) load(threadIdx.x);
      for (uint32_t block = threadIdx.x; block < in_blocks; block += kThreads) {
        float input[2][8];
        unpack(next[0], input[0]);
        unpack(next[1], input[1]);
        load(block + kThreads);
#pragma unroll
        for (uint32_t q = 0; q < kTerms; ++q) {
          float b[8];
          make_noise(tables, lane_bytes, noise, (first + q) * in_blocks + block, b);
#pragma unroll
          for (int k = 0; k < 8; ++k) {
            sum[2 * q] = fmaf(input[0][k], b[k], sum[2 * q]);
            sum[2 * q + 1] = fmaf(input[1][k], b[k], sum[2 * q + 1]);
          }
        }
      }
      const float of_warp = sum_in_warp(sum);
      constexpr uint32_t kLanesOfValue = 16 / kTerms;
      if (threadIdx.x % kLanesOfValue == 0)
        shared.partial[threadIdx.x / 32][threadIdx.x % 32 / kLanesOfValue] = of_warp;
      __syncthreads();
      if (threadIdx.x < 2 * kTerms) {
        float all = 0;
#pragma unroll
        for (uint32_t warp = 0; warp < kWarps; ++warp) all += shared.partial[warp][threadIdx.x];
        const float sign = threadIdx.x % 2 == 0 ? p.scale : -p.scale;
        reinterpret_cast<float*>(shared.projected)[2 * first + threadIdx.x] = sign * all;
      }
      __syncthreads();
    }

    uint4* y = reinterpret_cast<uint4*>(p.y + size_t{even} * p.out);
    const uint32_t a_blocks = noise_rank * in_blocks;
    for (uint32_t block = threadIdx.x; block < out_blocks; block += kThreads) {
      float output[2][8] = {};
      for (uint32_t first = 0; first < noise_rank; first += kTerms)
#pragma unroll
        for (uint32_t q = first; q < first + kTerms; ++q) {
          float a[8];
          make_noise(tables, lane_bytes, noise, a_blocks + q * out_blocks + block, a);
          const float2 factor = shared.projected[q];
#pragma unroll
          for (int k = 0; k < 8; ++k) {
            output[0][k] = fmaf(factor.x, a[k], output[0][k]);
            output[1][k] = fmaf(factor.y, a[k], output[1][k]);
          }
        }
#pragma unroll
      for (uint32_t s = 0; s < 2; ++s)
        if (even + s < p.members)
          y[s * out_blocks + block] = make_uint4(
              packed_bf16(output[s][0], output[s][1]), packed_bf16(output[s][2], output[s][3]),
              packed_bf16(output[s][4], output[s][5]), packed_bf16(output[s][6], output[s][7]));
    }
  }
}

using Kernel = void (*)(LinearPerturbation);

template <uint32_t kTerms>
Kernel kernel_for(uint64_t noise_rank) {
  return noise_rank == kTerms ? write_perturbation<kTerms, true>
                              : write_perturbation<kTerms, false>;
}
Kernel kernel_for(uint64_t noise_rank) {
  return noise_rank % 4 == 0   ? kernel_for<4>(noise_rank)
         : noise_rank % 2 == 0 ? kernel_for<2>(noise_rank)
                               : kernel_for<1>(noise_rank);
}

void check_shape(const ProductCall& c) {
  const auto is_aligned = [](const void* p) {
    return p != nullptr && reinterpret_cast<uintptr_t>(p) % 16 == 0;
  };
  if (c.members < 1 || c.in < 8 || c.out < 8 || c.in % 8 != 0 || c.out % 8 != 0)
    throw Error("linear layer of " + std::to_string(c.members) + " members, " +
                std::to_string(c.in) + " inputs and " + std::to_string(c.out) +
                " outputs: at least one member, inputs and outputs multiples of 8");
  if (!is_aligned(c.x) || !is_aligned(c.w) || !is_aligned(c.y))
    throw Error("linear layer: x, w and y must begin at multiples of 16 bytes");
}

void check_noise_rank(uint64_t terms, const ProductCall& c) {
  if (terms < 1 || terms > kMostNoiseTerms || terms * (uint64_t{c.in} + c.out) > 1ull << 32)
    throw Error("linear layer: noise of rank " + std::to_string(terms) + " for " +
                std::to_string(c.in) + " inputs and " + std::to_string(c.out) +
                " outputs: the rank must be 1 to " + std::to_string(kMostNoiseTerms) +
                ", the elements at most 2^32");
}

}  // namespace

PerturbedLinear::PerturbedLinear() {
  cudaDeviceProp device;
  int number = 0;
  CUDA_CHECK(cudaGetDevice(&number));
  CUDA_CHECK(cudaGetDeviceProperties(&device, number));
  multiprocessors_ = static_cast<uint32_t>(device.multiProcessorCount);
}

void PerturbedLinear::forward(const PerturbedLinearCall& call, const Stream& stream) {
  const ProductCall& c = call.product;
  check_shape(c);
  const uint64_t terms = call.noise_rank;
  check_noise_rank(terms, c);
  const LinearPerturbation perturbation = {
      .tables = noise_tables(),
      .keys = philox_keys(call.noise.seed),
      .first = call.noise,
      .members = c.members,
      .in = c.in,
      .out = c.out,
      .noise_rank = call.noise_rank,
      .scale = static_cast<float>(call.sigma / (256 * std::sqrt(static_cast<double>(terms)))),
      .x = c.x,
      .y = c.y};
  const Kernel kernel = kernel_for(terms);
  const size_t shared_bytes = sizeof(SharedMemory) + (terms - 1) * sizeof(float2);
  if (shared_bytes > 48 * 1024) allow_shared_bytes(kernel, shared_bytes);
  const uint32_t pairs = c.members / 2 + c.members % 2;
  launch(
      kernel,
      {dim3(std::min(pairs, kBlocksOfMultiprocessor * multiprocessors_)), kThreads, shared_bytes},
      stream, perturbation);
  product_.multiply(c, Existing::add, stream);
}

void PerturbedLinear::forward_unperturbed(const ProductCall& call, const Stream& stream) {
  check_shape(call);
  product_.multiply(call, Existing::replace, stream);
}

}  // namespace eggroll::cuda
