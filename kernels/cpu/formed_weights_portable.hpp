// The loops of formed_weights.hpp in plain C++, for the compiler to vectorise with the flags of the
// file that includes it; everything has internal linkage, as in portable.hpp.
#pragma once

#include "kernels/cpu/formed_weights.hpp"
#include "kernels/cpu/fused.hpp"

namespace eggroll::cpu {
namespace {

// Outputs from the first on: summed together, enough to hide the latency, few enough for registers.
template <size_t Outputs>
void linear_row_with_full_noise(const FullNoiseCall& c, size_t row, size_t first) {
  static_assert(kPanel % Outputs == 0);
  const auto [elements, scale] = c.noise[row];
  const size_t at = first / kPanel * kPanel * c.in + first % kPanel;
  const float* w = c.panels + at;
  const int8_t* e = elements + at;
  float sum[Outputs] = {};
  for (size_t i = 0; i < c.in; ++i, w += kPanel, e += kPanel) {
    const float x = c.x[row * c.in + i];
    for (size_t o = 0; o < Outputs; ++o) sum[o] = fused(x, fused(scale, e[o], w[o]), sum[o]);
  }
  for (size_t o = 0; o < Outputs && first + o < c.out; ++o) c.y[row * c.out + first + o] = sum[o];
}

// Two rows with the same noise: weights and elements are read once.
template <size_t Outputs>
void linear_pair_with_full_noise(const FullNoiseCall& c, size_t row, size_t first) {
  const float scale0 = c.noise[row].scale, scale1 = c.noise[row + 1].scale;
  const float *x0 = c.x + row * c.in, *x1 = x0 + c.in;
  float *y0 = c.y + row * c.out, *y1 = y0 + c.out;
  const size_t at = first / kPanel * kPanel * c.in + first % kPanel;
  const float* w = c.panels + at;
  const int8_t* e = c.noise[row].elements + at;
  float sum0[Outputs] = {}, sum1[Outputs] = {};
  for (size_t i = 0; i < c.in; ++i, w += kPanel, e += kPanel) {
    const float input0 = x0[i], input1 = x1[i];
    for (size_t o = 0; o < Outputs; ++o) {
      const float element = e[o];
      sum0[o] = fused(input0, fused(scale0, element, w[o]), sum0[o]);
      sum1[o] = fused(input1, fused(scale1, element, w[o]), sum1[o]);
    }
  }
  for (size_t o = 0; o < Outputs && first + o < c.out; ++o) {
    y0[first + o] = sum0[o];
    y1[first + o] = sum1[o];
  }
}

// Outputs at a time; of whole panels sixteen where no more are left.
template <size_t Outputs>
void linear_with_full_noise(const FullNoiseCall& c) {
  constexpr size_t kFew = Outputs == kPanel ? 16 : Outputs;
  for (size_t row = 0; row < c.rows;) {
    const bool is_pair = row + 1 < c.rows && c.noise[row + 1].elements == c.noise[row].elements;
    for (size_t first = 0; first < c.out; first += Outputs) {
      const bool are_few = c.out - first <= kFew;
      if (is_pair)
        are_few ? linear_pair_with_full_noise<kFew>(c, row, first)
                : linear_pair_with_full_noise<Outputs>(c, row, first);
      else
        are_few ? linear_row_with_full_noise<kFew>(c, row, first)
                : linear_row_with_full_noise<Outputs>(c, row, first);
    }
    row += is_pair ? 2 : 1;
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
