// What stands between float layers, element by element and row by row: the same bits in every
// instruction set, as each of them does the same operations in the same order. Tables like those of
// perturbed_linear.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/perturbed_linear.hpp"

namespace eggroll::cpu {

struct ActivationsIsa {
  void (*tanh)(float* y, size_t n);
  // tanh of y + (w + p e), as FormedWeightsIsa::add forms it.
  void (*add_and_tanh)(const float* w, float p, const int8_t* elements, size_t n, float* y);
  // FloatLayers::normalise of one row of n.
  void (*normalise)(float* y, size_t n);
};

const ActivationsIsa& activations_isa_scalar();
const ActivationsIsa& activations_isa_avx2();
const ActivationsIsa& activations_isa_avx512();

// The table that goes with one of floats.
const ActivationsIsa& activations_isa_of(const FloatIsa<float>& isa);

}  // namespace eggroll::cpu
