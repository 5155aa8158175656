// The perturbed linear layer in double precision, written to be believed, and how far
// kernels/cuda/perturbed_linear may be from it.
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

struct ExpectedOutput {
  double y;             // product and perturbation
  double perturbation;  // of it
  double bound;         // of |computed - y|
};

// The formula of kernels/cuda/perturbed_linear.hpp, one term a line.
inline double bound_of_perturbed_linear(const LayerShape& shape, double y, double perturbation,
                                        double product_of_sizes, double perturbation_of_sizes) {
  const double u = std::ldexp(1.0, -24), v = kBf16Roundoff, z = std::abs(perturbation);
  const double in = static_cast<double>(shape.in), r = static_cast<double>(shape.noise_rank);
  const double first_order = v * std::abs(y) + v * z +                    //
                             4 * (in + 2) * u * (product_of_sizes + z) +  //
                             (in / 256 + r + 32) * u * perturbation_of_sizes;
  return first_order * (1 + 2 * v) + 2 * std::ldexp(1.0, -133);
}

// x [members, in], w [out, in]: bf16. Outputs: [members, out].
inline std::vector<ExpectedOutput> perturbed_linear_oracle(const LayerShape& shape, double sigma,
                                                           const NoiseAddress& first_pair,
                                                           std::span<const uint16_t> x,
                                                           std::span<const uint16_t> w) {
  const auto [members, in, out, r] = shape;
  std::vector<ExpectedOutput> expected(members * out);
  for (size_t i = 0; i < members; ++i) {
    NoiseAddress at = first_pair;
    at.pair += static_cast<uint32_t>(i / 2);
    const double scale = (i % 2 == 0 ? sigma : -sigma) / std::sqrt(static_cast<double>(r));
    const auto noise = [&](size_t element) {
      return noise_element(at, static_cast<uint32_t>(element)) / 16.0;
    };
    std::vector<double> projection(r), projection_of_sizes(r);
    for (size_t q = 0; q < r; ++q)
      for (size_t k = 0; k < in; ++k) {
        const double term = static_cast<double>(float_of_bf16(x[i * in + k])) * noise(q * in + k);
        projection[q] += term;
        projection_of_sizes[q] += std::abs(term);
      }
    for (size_t o = 0; o < out; ++o) {
      double product = 0, product_of_sizes = 0, perturbation = 0, perturbation_of_sizes = 0;
      for (size_t k = 0; k < in; ++k) {
        const double term = static_cast<double>(float_of_bf16(x[i * in + k])) *
                            static_cast<double>(float_of_bf16(w[o * in + k]));
        product += term;
        product_of_sizes += std::abs(term);
      }
      for (size_t q = 0; q < r; ++q) {
        const double a = noise(r * in + q * out + o);
        perturbation += scale * projection[q] * a;
        perturbation_of_sizes += std::abs(scale * projection_of_sizes[q] * a);
      }
      const double y = product + perturbation;
      expected[i * out + o] = {y, perturbation,
                               bound_of_perturbed_linear(shape, y, perturbation, product_of_sizes,
                                                         perturbation_of_sizes)};
    }
  }
  return expected;
}

}  // namespace eggroll::test
