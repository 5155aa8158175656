// The perturbed linear layer in double precision, written to be believed, and how far
// kernels/cuda/perturbed_linear and kernels/cpu/perturbed_linear may be from it.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/noise.hpp"
#include "kernels/bfloat16.hpp"

namespace eggroll::test {

struct LayerShape {
  size_t members, in, out, noise_rank;
};

struct ExactOutput {
  double y;             // product and perturbation
  double perturbation;  // of it
  double product_of_sizes, perturbation_of_sizes;
  double sum_of_inputs, sum_of_weights;  // of their sizes, for one member and one output
};

inline double exact_value(float value) { return static_cast<double>(value); }
inline double exact_value(uint16_t bf16) { return static_cast<double>(float_of_bf16(bf16)); }

// x [members, in], w [out, in]: float, or bf16 bit patterns; noise(pair, element): the elements of
// a pair as integers. Outputs: [members, out].
template <typename T, typename Noise>
std::vector<ExactOutput> exact_perturbed_linear(const LayerShape& shape, double sigma,
                                                std::span<const T> x, std::span<const T> w,
                                                const Noise& noise) {
  const auto [members, in, out, r] = shape;
  std::vector<ExactOutput> exact(members * out);
  for (size_t i = 0; i < members; ++i) {
    const double scale = (i % 2 == 0 ? sigma : -sigma) / std::sqrt(static_cast<double>(r));
    std::vector<double> projection(r), projection_of_sizes(r);
    for (size_t q = 0; q < r; ++q)
      for (size_t k = 0; k < in; ++k) {
        const double term = exact_value(x[i * in + k]) * noise(i / 2, q * in + k) / 16.0;
        projection[q] += term;
        projection_of_sizes[q] += std::abs(term);
      }
    for (size_t o = 0; o < out; ++o) {
      ExactOutput& e = exact[i * out + o];
      double product = 0;
      for (size_t k = 0; k < in; ++k) {
        const double input = exact_value(x[i * in + k]), weight = exact_value(w[o * in + k]);
        product += input * weight;
        e.product_of_sizes += std::abs(input * weight);
        e.sum_of_inputs += std::abs(input);
        e.sum_of_weights += std::abs(weight);
      }
      for (size_t q = 0; q < r; ++q) {
        const double a = noise(i / 2, r * in + q * out + o) / 16.0;
        e.perturbation += scale * projection[q] * a;
        e.perturbation_of_sizes += std::abs(scale * projection_of_sizes[q] * a);
      }
      e.y = product + e.perturbation;
    }
  }
  return exact;
}

// The formula of kernels/cpu/perturbed_linear.hpp.
inline double bound_of_float_linear(const LayerShape& shape, double sigma, const ExactOutput& exact,
                                    bool is_bf16) {
  const double u = std::ldexp(1.0, -24), v = kBf16Roundoff, smallest = std::ldexp(1.0, -126);
  const double in = static_cast<double>(shape.in), r = static_cast<double>(shape.noise_rank);
  const double e =
      (1 + v) * (in + r + 4) * u * (exact.product_of_sizes + exact.perturbation_of_sizes) +
      smallest * ((in + r + 1) * (1 + 16 * sigma * std::sqrt(r)) + exact.sum_of_inputs +
                  exact.sum_of_weights);
  return is_bf16 ? v * std::abs(exact.y) + (1 + v) * e : e;
}

// The formula of kernels/cuda/perturbed_linear.hpp, one term a line.
inline double bound_of_perturbed_linear(const LayerShape& shape, const ExactOutput& exact) {
  const double u = std::ldexp(1.0, -24), v = kBf16Roundoff, z = std::abs(exact.perturbation);
  const double in = static_cast<double>(shape.in), r = static_cast<double>(shape.noise_rank);
  const double first_order = v * std::abs(exact.y) + v * z +                    //
                             4 * (in + 2) * u * (exact.product_of_sizes + z) +  //
                             (in / 256 + r + 32) * u * exact.perturbation_of_sizes;
  return first_order * (1 + 2 * v) + 2 * std::ldexp(1.0, -133);
}

struct ExpectedOutput {
  double y;             // product and perturbation
  double perturbation;  // of it
  double bound;         // of |computed - y| on the device
};

// x [members, in], w [out, in]: bf16. Outputs: [members, out].
inline std::vector<ExpectedOutput> perturbed_linear_oracle(const LayerShape& shape, double sigma,
                                                           const NoiseAddress& first_pair,
                                                           std::span<const uint16_t> x,
                                                           std::span<const uint16_t> w) {
  const auto noise = [&](size_t pair, size_t element) {
    NoiseAddress at = first_pair;
    at.pair += static_cast<uint32_t>(pair);
    return noise_element(at, static_cast<uint32_t>(element));
  };
  std::vector<ExpectedOutput> expected;
  for (const ExactOutput& exact : exact_perturbed_linear(shape, sigma, x, w, noise))
    expected.push_back({exact.y, exact.perturbation, bound_of_perturbed_linear(shape, exact)});
  return expected;
}

}  // namespace eggroll::test
