// How much evidence moves a weight.
#include "coordinator/step_size.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace eggroll {
namespace {

RunConfig config_with(UpdateRule update, double alpha) {
  RunConfig config;
  config.update = update;
  config.alpha = alpha;
  return config;
}

TEST(Alpha, FallsFromOneByItsExponentAndItsDecay) {
  RunConfig config = config_with(UpdateRule::threshold, 4);
  config.alpha_decay = {1000, false};
  EXPECT_DOUBLE_EQ(alpha_at(config, 0), 1.0);
  EXPECT_DOUBLE_EQ(alpha_at(config, 1000), 1.0 / 16);
  EXPECT_DOUBLE_EQ(alpha_at(config, 2000), 1.0 / 31);
  config.alpha = 2;
  EXPECT_DOUBLE_EQ(alpha_at(config, 1000), 1.0 / 4);
  for (uint64_t t = 1; t < 5000; ++t) ASSERT_LT(alpha_at(config, t), alpha_at(config, t - 1));
}

TEST(Alpha, DecaysInPercentOfThePlannedGenerations) {
  RunConfig config = config_with(UpdateRule::threshold, 4);
  config.alpha_decay = {42, true};
  config.generations = 30000;
  EXPECT_DOUBLE_EQ(alpha_at(config, 12600), 1.0 / 16);
  config.generations = 100;
  EXPECT_DOUBLE_EQ(alpha_at(config, 42), 1.0 / 16);
}

TEST(Alpha, OfAtMostOneIsAConstant) {
  for (double alpha : {1e-6, 0.05, 0.5, 1.0})
    for (uint64_t t : {uint64_t{0}, uint64_t{1}, uint64_t{1000000}})
      EXPECT_EQ(alpha_at(config_with(UpdateRule::threshold, alpha), t), alpha);
}

// 16 times the two-sided quantile, from tables, rounded down.
TEST(NormalQuantile, HasTheKnownValues) {
  EXPECT_EQ(normal_quantile_16(1.0), 0);
  EXPECT_EQ(normal_quantile_16(0.5), 10);       // 0.674490
  EXPECT_EQ(normal_quantile_16(0.318), 15);     // just below 1
  EXPECT_EQ(normal_quantile_16(0.3173), 16);    // just above 1
  EXPECT_EQ(normal_quantile_16(0.1), 26);       // 1.644854
  EXPECT_EQ(normal_quantile_16(1.0 / 16), 29);  // 1.862732
  EXPECT_EQ(normal_quantile_16(0.05), 31);      // 1.959964
  EXPECT_EQ(normal_quantile_16(0.01), 41);      // 2.575829
  EXPECT_EQ(normal_quantile_16(0.001), 52);     // 3.290527
  EXPECT_EQ(normal_quantile_16(1e-6), 78);      // 4.891638
}

TEST(NormalQuantile, NeverFallsAsTheShareShrinks) {
  int64_t before = 0;
  for (double alpha = 1; alpha > 1e-7; alpha *= 0.99) {
    const int64_t q = normal_quantile_16(alpha);
    ASSERT_GE(q, before);
    ASSERT_LE(q, before + 1);
    before = q;
  }
}

void expect_floor_of_the_root(uint64_t sum_squares, uint64_t terms) {
  const unsigned __int128 square = static_cast<unsigned __int128>(65536) * terms * sum_squares;
  const int64_t root = noise_deviation(sum_squares, terms);
  ASSERT_GE(root, 0);
  const auto wide = static_cast<unsigned __int128>(root);
  ASSERT_LE(wide * wide, square) << sum_squares << " x " << terms;
  ASSERT_GT((wide + 1) * (wide + 1), square) << sum_squares << " x " << terms;
}

TEST(NoiseDeviation, IsTheRootRoundedDownForEverySmallPopulation) {
  for (uint64_t terms : {1, 4, 16})
    for (uint64_t sum = 0; sum < 200000; ++sum) expect_floor_of_the_root(sum, terms);
}

TEST(NoiseDeviation, IsExactBesideSquaresAndForHugePopulations) {
  for (uint64_t root = 1; root < (uint64_t{1} << 21); root = root * 9 / 8 + 1) {
    EXPECT_EQ(noise_deviation(root * root, 1), static_cast<int64_t>(256 * root));
    for (uint64_t sum : {root * root - 1, root * root, root * root + 1})
      for (uint64_t terms : {1, 4, 16}) expect_floor_of_the_root(sum, terms);
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 100000; ++i)
    expect_floor_of_the_root(random() >> (22 + random() % 40), uint64_t{1} << (2 * (random() % 2)));
  EXPECT_EQ(noise_deviation(0, 1), 0);
}

// "16 |Z| >= quantile * s" of the definition, for every |Z| around the threshold.
TEST(Threshold, IsTheLeastEvidenceThatPassesTheDefinition) {
  std::mt19937_64 random(6);
  for (int i = 0; i < 20000; ++i) {
    RunConfig config = config_with(UpdateRule::threshold, 1 + static_cast<double>(random() % 8));
    const uint64_t generation = random() % 3000;
    const uint64_t sum = 1 + random() % (uint64_t{1} << (1 + random() % 33));
    const uint64_t terms = uint64_t{1} << (2 * (random() % 3));
    const int64_t evidence =
        normal_quantile_16(alpha_at(config, generation)) * noise_deviation(sum, terms);
    const int64_t threshold = step_threshold(config, generation, sum, terms);
    ASSERT_GE(16 * threshold, evidence);
    ASSERT_LT(16 * (threshold - 1), evidence == 0 ? 1 : evidence);
  }
}

TEST(Threshold, IsNothingWhereEverythingMayMove) {
  EXPECT_EQ(step_threshold(config_with(UpdateRule::threshold, 4), 0, 512, 1), 0);
}

TEST(Threshold, OfSigmaDeltaIsItsFactorOfTheDeviationOverTheRootOfAlpha) {
  RunConfig config = config_with(UpdateRule::sigma_delta, 4);
  config.threshold_factor = 2;
  EXPECT_EQ(step_threshold(config, 0, 100, 1), 2 * 2560);
  EXPECT_EQ(step_threshold(config, 1000, 100, 1), 4 * 2 * 2560);
  EXPECT_EQ(step_threshold(config, 0, 100, 4), 2 * 5120);
  EXPECT_EQ(step_threshold(config, 0, 100, 16), 2 * 10240);
  config.threshold_factor = 0.5;
  EXPECT_EQ(step_threshold(config, 0, 100, 1), 1280);
}

TEST(Threshold, OfSigmaDeltaStaysBetweenOneAndWhatAnAccumulatorHolds) {
  RunConfig config = config_with(UpdateRule::sigma_delta, 1e-6);
  config.threshold_factor = 64;
  EXPECT_EQ(step_threshold(config, 0, uint64_t{1} << 33, 16), 1 << 30);
  config.threshold_factor = 0.01;
  config.alpha = 1;
  EXPECT_EQ(step_threshold(config, 0, 0, 1), 1);
  EXPECT_EQ(step_threshold(config, 0, 1, 1), 2);  // 2.56
}

}  // namespace
}  // namespace eggroll
