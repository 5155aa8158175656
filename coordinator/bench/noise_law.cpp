#include "coordinator/bench/noise_law.hpp"

#include <array>
#include <cmath>
#include <numbers>

#include "common/noise.hpp"

namespace eggroll::bench {
namespace {

constexpr int kSizes = kNoiseMax + 1;

// Probability of an element of each size; the law is symmetric.
const std::array<double, kSizes>& probabilities() {
  static const auto kProbabilities = [] {
    std::array<double, kSizes> p{};
    for (const int a : kNoiseTableA)
      for (const int b : kNoiseTableB) p[static_cast<size_t>(std::abs(a + b))] += 1.0 / (128 * 128);
    return p;
  }();
  return kProbabilities;
}

// phi(t) = E[cos(t e)] and its derivative, e in sixteenths.
struct Characteristic {
  double value = 0, slope = 0;
};
Characteristic characteristic(double t) {
  Characteristic phi;
  for (int size = 0; size < kSizes; ++size) {
    const double p = probabilities()[static_cast<size_t>(size)], e = size / 16.0;
    phi.value += p * std::cos(t * e);
    phi.slope -= p * e * std::sin(t * e);
  }
  return phi;
}

// sum += weight d/dx_i prod_j phi(t x_j), and the product itself.
double add_gradient(std::span<const double> x, double t, double weight, std::vector<double>& sum) {
  std::vector<Characteristic> phi;
  for (const double each : x) phi.push_back(characteristic(t * each));
  double all = 1;
  for (size_t i = 0; i < x.size(); ++i) {
    double others = 1;
    for (size_t j = 0; j < x.size(); ++j) others *= j == i ? 1 : phi[j].value;
    sum[i] += weight * t * phi[i].slope * others;
    all *= phi[i].value;
  }
  return all;
}

}  // namespace

double noise_variance() {
  double variance = 0;
  for (int size = 0; size < kSizes; ++size)
    variance += probabilities()[static_cast<size_t>(size)] * size * size / 256.0;
  return variance;
}

std::vector<double> sine_response(std::span<const double> x, double sigma,
                                  std::optional<int> noise_rank) {
  std::vector<double> gradient(x.size());  // of E[cos(sigma E . x)]
  if (!noise_rank) {
    add_gradient(x, sigma, 1, gradient);
  } else {
    const double r = *noise_rank;
    double chi = 0;
    for (int size = 0; size < kSizes; ++size) {
      const double p = probabilities()[static_cast<size_t>(size)];
      chi += p * add_gradient(x, sigma * size / 16.0 / std::sqrt(r), p, gradient);
    }
    for (double& each : gradient) each *= r * std::pow(chi, r - 1);
  }
  for (double& each : gradient) each /= -sigma;
  return gradient;
}

double density_of_element(double low, double high, int noise_rank) {
  const double r = noise_rank, v = (r - 1) / 2;
  constexpr int kPoints = 400;  // in the middles of as many parts, so none is at the pole of r = 1
  double sum = 0;
  for (int k = 0; k < kPoints; ++k) {
    const double e = low + (high - low) * (k + 0.5) / kPoints, s = std::sqrt(r) * std::abs(e);
    // In logarithms: at r = 64 the factors are far from 1.
    const double log_factors = v * std::log(s / 2) + 0.5 * std::log(r) - std::lgamma(r / 2) -
                               0.5 * std::log(std::numbers::pi);
    sum += std::exp(log_factors + std::log(std::cyl_bessel_k(v, s)));
  }
  return sum / kPoints;
}

}  // namespace eggroll::bench
