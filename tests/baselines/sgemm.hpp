// The product of floats that bench_baselines puts beside those of int8: OpenBLAS where it is found
// (sgemm_openblas.cpp), else none (sgemm_absent.cpp).
#pragma once

#include <optional>
#include <string>

namespace eggroll::baselines {

// To be called first: one thread from here on. What computes, in its own words; nothing where there
// is no OpenBLAS.
std::optional<std::string> prepare_sgemm();

// y = x W^T.
void sgemm(int rows, int in, int out,
           const float* x,  // [rows, in]
           const float* w,  // [out, in]
           float* y);       // [rows, out]

}  // namespace eggroll::baselines
