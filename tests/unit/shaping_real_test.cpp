// Rules whose utilities are real numbers, against slow oracles. What is rounded is held to half a
// unit; whole numbers, as ranks are, to the integer.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "tests/support/shaping_oracle.hpp"

namespace eggroll {
namespace {

TEST(Shaping, RealUtilitiesAreRoundedToHalfAUnitAndTheLargestIsFullScale) {
  for (const size_t n : {6u, 60u, 600u, 1800u})
    for (const ShapingSettings& settings : all_settings(6)) {
      if (compares_pairs(settings.rule)) continue;
      const std::vector<double> fitness = normal_fitness(n, 3);
      const ShapedPopulation shaped = shape(fitness, settings);
      const Reals exact = wanted(fitness, settings);
      ASSERT_EQ(shaped.d.size(), exact.size());
      for (size_t i = 0; i < exact.size(); ++i)
        ASSERT_LE(std::abs(shaped.d[i] * static_cast<long double>(shaped.unit) - exact[i]),
                  (0.5L + 1e-9L) * shaped.unit)
            << name_of(settings) << ", " << n << " members, " << i;
      EXPECT_LE(largest_of(shaped), kLargestUtility);
      if (settings.rule != FitnessRule::centred_rank || n > 1562) {
        EXPECT_EQ(largest_of(shaped), kLargestUtility) << name_of(settings);
      }
    }
}

TEST(Shaping, WholeNumbersWithACommonDivisorAreExactAndSmall) {
  const std::vector<double> rewards{0, 100, 100, 0, 100, 100, 0, 300};
  EXPECT_EQ(shape(rewards, {.rule = FitnessRule::raw}).d, (std::vector<int16_t>{-1, 1, 0, -3}));
  EXPECT_EQ(shape(rewards, {.rule = FitnessRule::raw}).unit, 100);
  EXPECT_EQ(shape(rewards, {.rule = FitnessRule::group, .group_size = 4}).d,
            (std::vector<int16_t>{-1, 1, 0, -3}));
  EXPECT_EQ(shape(rewards, {FitnessRule::raw, Sampling::independent, 2}).d,
            (std::vector<int16_t>{0, 1, 1, 0, 1, 1, 0, 3}));
  // The means of these groups are no whole numbers, the differences are.
  const std::vector<double> points = whole_fitness(600, 6, 17);
  for (const FitnessRule rule : {FitnessRule::z_score, FitnessRule::group}) {
    const ShapedPopulation shaped = shape(points, {.rule = rule, .group_size = 6});
    for (size_t j = 0; j < 300; ++j) ASSERT_EQ(shaped.d[j], points[2 * j] - points[2 * j + 1]);
  }
  // 1562 of them, but not 1563.
  EXPECT_EQ(shape(std::vector<double>{1562, 0, 1, 0}, {.rule = FitnessRule::raw}).unit, 1);
  EXPECT_EQ(shape(std::vector<double>{1563, 0, 1, 0}, {.rule = FitnessRule::raw}).unit,
            1563.0 / kLargestUtility);
}

TEST(Shaping, ZScoresAndGroupsByHand) {
  // Means 4 and 1, differences to them -2, 2, -1, 1: variance 2.5.
  const std::vector<double> fitness{2, 6, 0, 2};
  const ShapedPopulation group = shape(fitness, {FitnessRule::group, Sampling::independent, 2});
  EXPECT_EQ(group.d, (std::vector<int16_t>{-2, 2, -1, 1}));
  EXPECT_DOUBLE_EQ(group.unit, 1 / std::sqrt(2.5 + 1e-5));
  EXPECT_EQ(shape(fitness, {.rule = FitnessRule::group}).d, (std::vector<int16_t>{-2, -1}));
  EXPECT_DOUBLE_EQ(shape(fitness, {.rule = FitnessRule::group}).unit, 2 / std::sqrt(2.5 + 1e-5));
  // Mean 2.5, variance 19 / 4.
  const ShapedPopulation z = shape(fitness, {.rule = FitnessRule::z_score});
  EXPECT_EQ(z.d, (std::vector<int16_t>{-2, -1}));
  EXPECT_DOUBLE_EQ(z.unit, 2 / std::sqrt(4.75 + 1e-5));
  EXPECT_EQ(shape(fitness, {FitnessRule::z_score, Sampling::independent, 2}).d,
            (std::vector<int16_t>{-223, 1562, -1116, -223}));
}

TEST(Shaping, AGroupThatIsAllEqualTeachesNothing) {
  // Sevenths have no last bit, so that the mean of six is not always the number that they are.
  std::vector<double> fitness;
  for (int group = 0; group < 40; ++group) fitness.insert(fitness.end(), 6, group / 7.0);
  for (size_t i = 6; i < 12; ++i) fitness[i] = static_cast<double>(i);
  for (const Sampling sampling : kSamplings) {
    const ShapedPopulation shaped = shape(fitness, {FitnessRule::group, sampling, 6});
    const size_t of_group = sampling == Sampling::antithetic ? 3 : 6;
    for (size_t i = 0; i < shaped.d.size(); ++i)
      ASSERT_EQ(shaped.d[i] != 0, i / of_group == 1) << i;
  }
}

TEST(Shaping, ExchangingMembersOfPairsNegatesRealUtilitiesToo) {
  std::vector<double> fitness = normal_fitness(800, 12);
  for (const FitnessRule rule : kRealRules) {
    const ShapedPopulation shaped = shape(fitness, {.rule = rule, .group_size = 8});
    std::vector<double> exchanged = fitness;
    for (size_t j = 0; j < 400; ++j) std::swap(exchanged[2 * j], exchanged[2 * j + 1]);
    const ShapedPopulation other = shape(exchanged, {.rule = rule, .group_size = 8});
    for (size_t j = 0; j < 400; ++j) ASSERT_EQ(other.d[j], -shaped.d[j]);
    EXPECT_EQ(other.sum_squares, shaped.sum_squares);
  }
}

TEST(Shaping, WhatIsAddedToEveryFitnessIsLeftOutOfAllRulesButRaw) {
  for (const ShapingSettings& settings : all_settings(6)) {
    if (settings.rule == FitnessRule::raw && settings.sampling == Sampling::independent) continue;
    std::vector<double> fitness = whole_fitness(600, 5000, 15);
    const ShapedPopulation shaped = shape(fitness, settings);
    for (double& f : fitness) f += 1e9;
    const ShapedPopulation shifted = shape(fitness, settings);
    EXPECT_EQ(shifted.d, shaped.d) << name_of(settings);
    EXPECT_DOUBLE_EQ(shifted.unit, shaped.unit);
  }
}

TEST(Shaping, RanksAreExactAsLongAsTheyFit) {
  for (const int values : {2, 7, 1000000})  // many ties, some, hardly any
    for (size_t n : {2u, 4u, 6u, 100u, 782u, 1562u})
      for (const Sampling sampling : kSamplings) {
        if (n == 1562 && values != 1000000) continue;
        std::vector<double> fitness = whole_fitness(n, values, 5);
        if (n == 1562) std::iota(fitness.begin(), fitness.end(), -700.0);
        const ShapingSettings settings{FitnessRule::centred_rank, sampling, 2};
        const ShapedPopulation shaped = shape(fitness, settings);
        const Reals exact = wanted(fitness, settings);
        for (size_t i = 0; i < exact.size(); ++i)
          ASSERT_NEAR(static_cast<double>(shaped.d[i] * static_cast<long double>(shaped.unit)),
                      static_cast<double>(exact[i]), 1e-15)
              << n << " members, " << values << " values";
      }
}

TEST(Shaping, RanksThatDoNotFitAreRoundedHalvesAwayFromZero) {
  for (const size_t n : {2000u, 6250u}) {
    std::vector<double> fitness(n);
    std::iota(fitness.begin(), fitness.end(), 0.0);
    std::shuffle(fitness.begin(), fitness.end(), std::mt19937(6));
    const ShapedPopulation shaped =
        shape(fitness, {FitnessRule::centred_rank, Sampling::independent, 2});
    const auto last = static_cast<int64_t>(n) - 1;
    for (size_t i = 0; i < n; ++i) {
      const int64_t twice = 2 * static_cast<int64_t>(fitness[i]) - last;
      const int64_t size = (2 * std::abs(twice) * kLargestUtility + last) / (2 * last);
      ASSERT_EQ(shaped.d[i], sign_of(twice) * size) << fitness[i];
    }
    EXPECT_DOUBLE_EQ(shaped.unit, 0.5 / kLargestUtility);
  }
  // 1562 * 1 / 3124 is a half.
  const ShapedPopulation shaped =
      shape(std::vector<double>{3124, 0, 1, 0, 0, 1, 3, 0}, {.rule = FitnessRule::raw});
  EXPECT_EQ(shaped.d, (std::vector<int16_t>{1562, 1, -1, 2}));
}

TEST(Shaping, EqualFitnessSharesItsMiddleRankInAnyOrder) {
  std::vector<double> fitness = whole_fitness(900, 12, 7);
  for (double& f : fitness) f = f == 6 ? -0.0 : f == 7 ? 0.0 : f / 4 - 2;
  std::map<double, int> known;
  std::mt19937 random(8);
  for (int order = 0; order < 5; ++order) {
    const ShapedPopulation shaped =
        shape(fitness, {FitnessRule::centred_rank, Sampling::independent, 2});
    for (size_t i = 0; i < fitness.size(); ++i)
      ASSERT_EQ(known.emplace(fitness[i], shaped.d[i]).first->second, shaped.d[i]) << fitness[i];
    std::shuffle(fitness.begin(), fitness.end(), random);
  }
  EXPECT_EQ(known.size(), 10u);  // three of the twelve are zero
}

TEST(Shaping, RanksOrderWhateverADoubleCanHold) {
  // Neighbours, on both sides of zero, beside the largest and the smallest: more bits than
  // fit beside a member.
  std::vector<double> fitness{3e38, -3e38, 5e-324, -5e-324, 1e-200, -1e-200, 0.0, -0.0};
  for (double f = 1; fitness.size() < 5000; f = std::nextafter(f, 2.0))
    fitness.insert(fitness.end(), {f, -f, f, 1e-9 * f});
  std::shuffle(fitness.begin(), fitness.end(), std::mt19937(9));
  std::vector<double> sorted = fitness;
  std::ranges::sort(sorted);
  const ShapedPopulation shaped =
      shape(fitness, {FitnessRule::centred_rank, Sampling::independent, 2});
  const auto last = static_cast<int64_t>(fitness.size()) - 1;
  for (size_t i = 0; i < fitness.size(); ++i) {
    const auto [first, end] = std::equal_range(sorted.begin(), sorted.end(), fitness[i]);
    const int64_t twice = (first - sorted.begin()) + (end - sorted.begin()) - 1 - last;
    const int64_t size = (2 * std::abs(twice) * kLargestUtility + last) / (2 * last);
    ASSERT_EQ(shaped.d[i], sign_of(twice) * size) << fitness[i];
  }
}

TEST(Shaping, RanksAreThoseOfASortForEverySizeAndKindOfFitness) {
  std::mt19937_64 random(10);
  for (size_t n = 2; n <= 300; n += 2)
    for (const int kind : {0, 1, 2}) {
      std::vector<double> fitness(n);
      for (double& f : fitness) {
        const auto bits = static_cast<uint32_t>(random());
        f = kind == 0   ? static_cast<double>(static_cast<int32_t>(bits))
            : kind == 1 ? static_cast<double>(std::bit_cast<float>(bits & 0xBFFFFFFFu))
                        : static_cast<double>(bits % 5) - 2;
      }
      const ShapingSettings settings{FitnessRule::centred_rank, Sampling::independent, 2};
      const ShapedPopulation shaped = shape(fitness, settings);
      const Reals exact = wanted(fitness, settings);
      for (size_t i = 0; i < n; ++i)
        ASSERT_NEAR(shaped.d[i] * shaped.unit, static_cast<double>(exact[i]), 1e-15) << kind;
    }
}

}  // namespace
}  // namespace eggroll
