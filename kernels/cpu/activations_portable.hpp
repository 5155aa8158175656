// The loops of activations.hpp in plain C++, for the compiler to vectorise with the flags of the file
// that includes it; everything has internal linkage, as in portable.hpp.
#pragma once

#include <cmath>

#include "kernels/cpu/activations.hpp"
#include "kernels/cpu/fused.hpp"

namespace eggroll::cpu {
namespace {

// tanh x = x p(x^2) / q(x^2): a fit of least relative error over |x| <= 9, 0.2 of 2^-24 in exact
// arithmetic. Beyond that, tanh 9 is 1 to float.
inline float tanh_of(float x) {
  constexpr float kP[] = {0x1p+0f,          0x1.0c187ap-3f,  0x1.97ccdep-9f,  0x1.78c982p-17f,
                          -0x1.607e7ep-26f, 0x1.dc170ep-35f, -0x1.8d19d2p-44f};
  constexpr float kQ[] = {0x1p+0f, 0x1.db619p-2f, 0x1.91cf04p-6f, 0x1.0c16dep-12f};
  const float clipped = x > 9 ? 9 : x < -9 ? -9 : x;  // NaN stays one
  const float z = clipped * clipped;
  float p = kP[6];
#pragma GCC unroll 6
  for (int k = 5; k >= 0; --k) p = fused(p, z, kP[k]);
  float q = kQ[3];
#pragma GCC unroll 3
  for (int k = 2; k >= 0; --k) q = fused(q, z, kQ[k]);
  return clipped * p / q;
}

inline void tanh_of_each(float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = tanh_of(y[i]);
}

inline void add_and_tanh_of_each(const float* w, float p, const int8_t* elements, size_t n,
                                 float* y) {
  if (elements == nullptr)
    for (size_t i = 0; i < n; ++i) y[i] = tanh_of(y[i] + w[i]);
  else
    for (size_t i = 0; i < n; ++i) y[i] = tanh_of(y[i] + fused(p, elements[i], w[i]));
}

// Sixteen sums side by side, then halves onto each other.
template <typename Term>
float sum_of_terms(size_t n, const Term& term) {
  float sum[16] = {};
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (size_t l = 0; l < 16; ++l) sum[l] += term(i + l);
  for (size_t l = 0; i + l < n; ++l) sum[l] += term(i + l);
  for (size_t half = 8; half > 0; half /= 2)
    for (size_t l = 0; l < half; ++l) sum[l] += sum[l + half];
  return sum[0];
}

inline void normalise_row(float* y, size_t n) {
  const float mean = sum_of_terms(n, [&](size_t i) { return y[i]; }) / static_cast<float>(n);
  for (size_t i = 0; i < n; ++i) y[i] -= mean;
  const float variance =
      sum_of_terms(n, [&](size_t i) { return y[i] * y[i]; }) / static_cast<float>(n);
  const float deviation = std::sqrt(variance + 1e-6f);
  for (size_t i = 0; i < n; ++i) y[i] /= deviation;
}

constexpr ActivationsIsa portable_activations_isa() {
  return {.tanh = tanh_of_each, .add_and_tanh = add_and_tanh_of_each, .normalise = normalise_row};
}

}  // namespace
}  // namespace eggroll::cpu
