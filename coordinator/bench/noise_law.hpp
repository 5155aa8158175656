// What the theory says of the noise law (common/noise.hpp): expectations over it that are finite sums,
// and the formulas that it approximates.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace eggroll::bench {

// E[e^2] of an element in sixteenths: just below 1.
double noise_variance();

// E[E_i sin(sigma E . x)] for each i, of a row E of a perturbation: A B^T / sqrt(r), or without a
// noise rank a number for each weight. Exact: with independent elements the characteristic function
// of E . x is a product, and that of r terms a power,
//
//   phi(t) = E[cos(t e)]     chi(x) = E_a[prod_j phi(sigma a x_j / sqrt(r))]     E[cos(sigma E . x)] = chi^r
//
// whose derivative by x_i is -sigma times what is asked for.
std::vector<double> sine_response(std::span<const double> x, double sigma,
                                  std::optional<int> noise_rank);

// Density of an element of A B^T / sqrt(r) for normal A and B (arXiv 2511.16652, appendix): with
// s = sqrt(r) |e| and v = (r - 1) / 2, sqrt(r) (s / 2)^v K_v(s) / (sqrt(pi) Gamma(r / 2)); r = 1:
// K_0(|e|) / pi. On average over [low, high].
double density_of_element(double low, double high, int noise_rank);

}  // namespace eggroll::bench
