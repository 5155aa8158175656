// The loops of formed_weights.hpp in plain C++, for the compiler to vectorise with the flags of the
// file that includes it; everything has internal linkage, as in portable.hpp.
#pragma once

#include "kernels/cpu/formed_weights.hpp"
#include "kernels/cpu/fused.hpp"

namespace eggroll::cpu {
namespace {

// Outputs that are summed together: enough to hide the latency, few enough for registers.
template <size_t Outputs>
void linear_with_full_noise(const FullNoiseCall& c) {
  static_assert(kPanel % Outputs == 0);
  for (size_t row = 0; row < c.rows; ++row) {
    const auto [elements, scale] = c.noise[row];
    for (size_t first = 0; first < c.out; first += Outputs) {
      const size_t at = first / kPanel * kPanel * c.in + first % kPanel;
      const float* w = c.panels + at;
      const int8_t* e = elements + at;
      float sum[Outputs] = {};
      for (size_t i = 0; i < c.in; ++i, w += kPanel, e += kPanel) {
        const float x = c.x[row * c.in + i];
        for (size_t o = 0; o < Outputs; ++o) sum[o] = fused(x, fused(scale, e[o], w[o]), sum[o]);
      }
      for (size_t o = 0; o < Outputs && first + o < c.out; ++o)
        c.y[row * c.out + first + o] = sum[o];
    }
  }
}

inline void form_weights(const float* w, const float* p, const int8_t* elements, size_t stride,
                         size_t terms, size_t n, float* to) {
  for (size_t i = 0; i < n; ++i) to[i] = w[i];
  for (size_t q = 0; q < terms; ++q, elements += stride)
    for (size_t i = 0; i < n; ++i) to[i] = fused(p[q], elements[i], to[i]);
}

inline void add_formed(const float* w, float p, const int8_t* elements, size_t n, float* to) {
  if (elements == nullptr)
    for (size_t i = 0; i < n; ++i) to[i] += w[i];
  else
    for (size_t i = 0; i < n; ++i) to[i] += fused(p, elements[i], w[i]);
}

template <size_t Outputs>
constexpr FormedWeightsIsa formed_weights_isa() {
  return {.linear = linear_with_full_noise<Outputs>, .form = form_weights, .add = add_formed};
}

}  // namespace
}  // namespace eggroll::cpu
