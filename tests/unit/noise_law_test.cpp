// What `bench theory` takes for exact: expectations over the noise law.
#include "coordinator/bench/noise_law.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "common/noise.hpp"

namespace eggroll::bench {
namespace {

// Each element there can be, as often as the tables have it.
template <typename Body>
void for_each_element(const Body& body) {
  for (const int a : kNoiseTableA)
    for (const int b : kNoiseTableB) body((a + b) / 16.0);
}
constexpr double kElements = 128.0 * 128;

TEST(NoiseLaw, VarianceIsThatOfTheTables) {
  double sum = 0;
  for_each_element([&](double e) { sum += e * e; });
  EXPECT_NEAR(noise_variance(), sum / kElements, 1e-14);
  EXPECT_NEAR(noise_variance(), 255.97 / 256, 1e-4);
}

TEST(NoiseLaw, SineResponseIsTheSumOverAllElements) {
  const double sigma = 0.7, x = 1.3;
  double full = 0, low_rank = 0;
  for_each_element([&](double a) {
    full += a * std::sin(sigma * x * a) / kElements;
    // Of B as counted, which is quicker than once more all pairs of entries.
    static const std::vector<double> counts = [] {
      std::vector<double> of(2 * kNoiseMax + 1);
      for_each_element(
          [&](double b) { of[static_cast<size_t>(16 * b + kNoiseMax)] += 1 / kElements; });
      return of;
    }();
    for (int b = -kNoiseMax; b <= kNoiseMax; ++b) {
      const double e = a * b / 16.0;
      low_rank +=
          counts[static_cast<size_t>(b + kNoiseMax)] * e * std::sin(sigma * x * e) / kElements;
    }
  });
  EXPECT_NEAR(sine_response(std::vector{x}, sigma, std::nullopt)[0], full, 1e-12);
  EXPECT_NEAR(sine_response(std::vector{x}, sigma, 1)[0], low_rank, 1e-12);
}

// Two inputs and rank 2, by drawing: E_0 = (a_1 b_10 + a_2 b_20) / sqrt(2).
TEST(NoiseLaw, SineResponseIsWhatDrawnNoiseGives) {
  const double sigma = 0.9;
  const std::vector<double> x = {0.8, -1.1};
  double sum = 0, squares = 0;
  constexpr uint32_t kDraws = 200000;
  for (uint32_t k = 0; k < kDraws; ++k) {
    const PhiloxBlock block = noise_block({3, 0, 0, k}, 0);
    const auto e = [&](int lane) { return noise_of_block(block, lane) / 16.0; };
    const double first = (e(0) * e(1) + e(2) * e(3)) / std::sqrt(2);
    const double second = (e(0) * e(4) + e(2) * e(5)) / std::sqrt(2);
    const double value = first * std::sin(sigma * (first * x[0] + second * x[1]));
    sum += value / kDraws;
    squares += value * value / kDraws;
  }
  const double error = std::sqrt((squares - sum * sum) / kDraws);
  EXPECT_NEAR(sine_response(x, sigma, 2)[0], sum, 4 * error);
  EXPECT_LT(error, 0.003);
}

TEST(NoiseLaw, DistanceToFullNoiseFallsAsOneOverTheNoiseRank) {
  const std::vector<double> x = {0.3, 0.5, -0.6, 0.2};
  const double full = sine_response(x, 0.5, std::nullopt)[2];
  const auto distance = [&](int r) { return std::abs(sine_response(x, 0.5, r)[2] - full); };
  EXPECT_NEAR(std::log2(distance(4) / distance(8)), 1, 0.15);
  EXPECT_NEAR(std::log2(distance(16) / distance(32)), 1, 0.05);
}

TEST(NoiseLaw, DensityOfAnElementIsADensityWithVarianceOne) {
  for (const int r : {1, 2, 3, 4, 16, 64}) {
    double sum = 0, variance = 0;
    constexpr double kStep = 0.05;
    for (int k = -300; k < 300; ++k) {
      const double e = kStep * (k + 0.5),
                   share = kStep * density_of_element(kStep * k, kStep * (k + 1), r);
      sum += share;
      variance += share * e * e;
    }
    EXPECT_NEAR(sum, 1, 1e-3) << r;
    EXPECT_NEAR(variance, 1, 1e-3) << r;
  }
  EXPECT_NEAR(density_of_element(0.999, 1.001, 1), 0.13401624, 1e-6);  // K_0(1) / pi
}

}  // namespace
}  // namespace eggroll::bench
