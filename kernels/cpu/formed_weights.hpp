// Weights that are formed, w + s sigma E, of one member at a time: what low rank spares, and what there
// must be where each weight has a number of noise to itself (OpenES), or a few of them are looked up.
// One order of operations, as in perturbed_linear.hpp, and tables like there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/perturbed_linear.hpp"

namespace eggroll::cpu {

// y[i] = x[i] (W + scale_i E_j)^T, E of a number for each weight; a weight is formed by one fused
// operation each time it is used. Elements of noise stand in the order of the panels.
struct FullNoiseCall {
  const float* x = nullptr;       // [rows, in]
  const float* panels = nullptr;  // W [out, in] as pack_panels() has it
  size_t rows = 0;
  size_t in = 0;
  size_t out = 0;
  const NoisyRow* noise = nullptr;  // [rows]; scale: s sigma / 16
  float* y = nullptr;               // [rows, out]
};

struct FormedWeightsIsa {
  void (*linear)(const FullNoiseCall& call);
  // to = w + p_0 e_0 + p_1 e_1 + ..., from the left, over n weights; e_q are `stride` elements apart.
  void (*form)(const float* w, const float* p, const int8_t* elements, size_t stride, size_t terms,
               size_t n, float* to);
  // to += w + p e, formed as there; without elements to += w.
  void (*add)(const float* w, float p, const int8_t* elements, size_t n, float* to);
};

const FormedWeightsIsa& formed_weights_isa_scalar();
const FormedWeightsIsa& formed_weights_isa_avx2();
const FormedWeightsIsa& formed_weights_isa_avx512();

// Elements of noise [out, in] to the order of the panels; beyond the last output they stay as they are.
void pack_noise(const int8_t* elements, size_t out, size_t in, int8_t* panels);

// The table that goes with one of floats.
const FormedWeightsIsa& formed_weights_isa_of(const FloatIsa<float>& isa);

}  // namespace eggroll::cpu
