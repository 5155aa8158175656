// What this GPU can do at all, measured: the figures of the benchmark stand beside these.
#pragma once

#include <functional>

#include "kernels/cuda/runtime.hpp"

namespace eggroll::gpu_check {

// Seconds of one call, a median of `repeats` timed by events on the stream after a warm-up.
double seconds_of(const cuda::Stream& stream, int repeats, const std::function<void()>& call);

// Bytes read and written a second by a copy within the device's memory.
double copy_bytes_per_s();
// Multiplications and additions a second: cuBLASLt's product of n x n matrices of random int8 (sums
// int32) or bf16 (sums float, results bf16); and the int8 instruction that our kernels use, on
// registers alone.
double int8_product_ops_per_s(int n);
double bf16_product_ops_per_s(int n);
double int8_instruction_ops_per_s();

}  // namespace eggroll::gpu_check
