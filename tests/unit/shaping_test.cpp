// Fitness -> utilities as integers: sign and levels exactly, and what holds for every rule.
#include "coordinator/shaping.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "common/check.hpp"
#include "tests/support/shaping_oracle.hpp"

namespace eggroll {
namespace {

constexpr int32_t kLowest = std::numeric_limits<int32_t>::min();
constexpr int32_t kHighest = std::numeric_limits<int32_t>::max();

// 1, -2, 3, ... n, mixed: each size once.
std::vector<int32_t> distinct_sizes(int n) {
  std::vector<int32_t> difference;
  for (int i = 1; i <= n; ++i) difference.push_back(i % 2 == 0 ? -i : i);
  std::shuffle(difference.begin(), difference.end(), std::mt19937_64(n));
  return difference;
}

std::vector<int32_t> random_differences(size_t n, int32_t largest, std::mt19937_64& random) {
  std::vector<int32_t> difference(n);
  const int64_t values = 2 * int64_t{largest} + 1;
  for (int32_t& v : difference)
    v = static_cast<int32_t>(static_cast<int64_t>(random() % values) - largest);
  return difference;
}

// Pairs with these differences.
ShapedPopulation shape_pairs(const std::vector<int32_t>& difference, FitnessRule rule) {
  std::vector<double> fitness;
  for (const int32_t v : difference) fitness.insert(fitness.end(), {static_cast<double>(v), 0.0});
  return shape(fitness, {.rule = rule});
}

// The words of the header, with a full sort.
std::vector<int16_t> levels_by_definition(const std::vector<int32_t>& difference) {
  std::vector<int64_t> sorted;
  for (int64_t v : difference) sorted.push_back(std::abs(v));
  std::sort(sorted.begin(), sorted.end());
  const size_t n = difference.size();
  std::vector<int16_t> d;
  for (int64_t v : difference) {
    const int64_t size = std::abs(v);
    const int level = size < sorted[n / 3] ? 0 : size < sorted[79 * n / 100] ? 1 : 2;
    d.push_back(static_cast<int16_t>(sign_of(v) * level));
  }
  return d;
}

void expect_sums_of_its_own_d(const ShapedPopulation& shaped,
                              const std::vector<int32_t>& difference) {
  uint64_t squares = 0, magnitudes = 0;
  for (int d : shaped.d) {
    squares += static_cast<uint64_t>(d * d);
    magnitudes += static_cast<uint64_t>(std::abs(d));
  }
  EXPECT_EQ(shaped.sum_squares, squares);
  EXPECT_EQ(shaped.sum_magnitudes, magnitudes);
  EXPECT_EQ(shaped.ties, static_cast<uint64_t>(std::ranges::count(difference, 0)));
}

TEST(Shaping, SignKeepsTheSignAlone) {
  const std::vector<int32_t> difference{5, -3, 0, kHighest, kLowest, -1, 1, 0};
  const ShapedPopulation shaped = shape_pairs(difference, FitnessRule::sign);
  EXPECT_EQ(shaped.d, (std::vector<int16_t>{1, -1, 0, 1, -1, -1, 1, 0}));
  EXPECT_EQ(shaped.ties, 2u);
  EXPECT_EQ(shaped.sum_squares, 6u);
  EXPECT_EQ(shaped.sum_magnitudes, 6u);
}

TEST(Shaping, LevelsGiveTheLowestThirdNothingAndTheTopTwentyOnePercentTwo) {
  const std::vector<int32_t> difference = distinct_sizes(300);
  const ShapedPopulation shaped = shape_pairs(difference, FitnessRule::levels);
  for (size_t j = 0; j < difference.size(); ++j) {
    const int size = std::abs(difference[j]);
    const int level = size <= 100 ? 0 : size <= 237 ? 1 : 2;
    ASSERT_EQ(shaped.d[j], sign_of(difference[j]) * level) << difference[j];
  }
  EXPECT_EQ(shaped.ties, 0u);
  EXPECT_EQ(shaped.sum_magnitudes, 137u + 2 * 63u);
  EXPECT_EQ(shaped.sum_squares, 137u + 4 * 63u);
}

TEST(Shaping, LevelsFollowTheirDefinitionForAnyPopulation) {
  std::mt19937_64 random(7);
  for (int32_t largest : {1, 3, 20, 100000, kHighest})
    for (size_t n = 1; n <= 130; ++n) {
      const std::vector<int32_t> difference = random_differences(n, largest, random);
      const ShapedPopulation shaped = shape_pairs(difference, FitnessRule::levels);
      ASSERT_EQ(shaped.d, levels_by_definition(difference)) << n << " up to " << largest;
      expect_sums_of_its_own_d(shaped, difference);
    }
}

TEST(Shaping, EqualSizesAreTreatedAlikeWhereverTheyStand) {
  std::mt19937_64 random(8);
  std::vector<int32_t> difference = random_differences(1000, 9, random);
  const ShapedPopulation shaped = shape_pairs(difference, FitnessRule::levels);
  std::vector<int> level_of(10, -1);
  for (size_t j = 0; j < difference.size(); ++j) {
    const int level = std::abs(int{shaped.d[j]});
    int& known = level_of[static_cast<size_t>(std::abs(difference[j]))];
    if (known == -1) known = level;
    ASSERT_EQ(level, known) << difference[j];
  }
  EXPECT_TRUE(std::is_sorted(level_of.begin(), level_of.end()));
}

TEST(Shaping, ExchangingTheMembersOfEveryPairNegatesEverything) {
  std::mt19937_64 random(9);
  for (FitnessRule rule : {FitnessRule::sign, FitnessRule::levels})
    for (size_t n : {1, 2, 3, 64, 1000}) {
      std::vector<int32_t> difference = random_differences(n, 50, random);
      const ShapedPopulation shaped = shape_pairs(difference, rule);
      for (int32_t& v : difference) v = -v;
      const ShapedPopulation exchanged = shape_pairs(difference, rule);
      for (size_t j = 0; j < n; ++j) ASSERT_EQ(exchanged.d[j], -shaped.d[j]);
      EXPECT_EQ(exchanged.sum_squares, shaped.sum_squares);
      EXPECT_EQ(exchanged.sum_magnitudes, shaped.sum_magnitudes);
      EXPECT_EQ(exchanged.ties, shaped.ties);
    }
}

TEST(Shaping, PermutingThePairsPermutesTheDifferences) {
  std::mt19937_64 random(10);
  std::vector<int32_t> difference = random_differences(500, 40, random);
  std::vector<int16_t> reversed = shape_pairs(difference, FitnessRule::levels).d;
  std::reverse(reversed.begin(), reversed.end());
  std::reverse(difference.begin(), difference.end());
  EXPECT_EQ(shape_pairs(difference, FitnessRule::levels).d, reversed);
}

TEST(Shaping, SizesThatAreAllEqualAllCountTwo) {
  const std::vector<int32_t> difference{-4, 4, 4, -4, 4};
  EXPECT_EQ(shape_pairs(difference, FitnessRule::levels).d,
            (std::vector<int16_t>{-2, 2, 2, -2, 2}));
}

TEST(Shaping, OnePairAloneCountsTwoOrNothing) {
  for (const auto& [difference, d] : {std::pair{1, 2}, {-7, -2}, {0, 0}, {kLowest, -2}}) {
    const ShapedPopulation shaped =
        shape_pairs(std::vector<int32_t>{difference}, FitnessRule::levels);
    EXPECT_EQ(shaped.d, std::vector<int16_t>{static_cast<int16_t>(d)});
  }
}

TEST(Shaping, APopulationOfTiesHasNothingToLearnFrom) {
  for (FitnessRule rule : {FitnessRule::sign, FitnessRule::levels}) {
    const ShapedPopulation shaped = shape_pairs(std::vector<int32_t>(77, 0), rule);
    EXPECT_EQ(shaped.d, std::vector<int16_t>(77, 0));
    EXPECT_EQ(shaped.ties, 77u);
    EXPECT_EQ(shaped.sum_squares, 0u);
    EXPECT_EQ(shaped.sum_magnitudes, 0u);
  }
}

TEST(Shaping, TiesNeverCountEvenWhereMostOfThePopulationTies) {
  std::vector<int32_t> difference(100, 0);
  difference[3] = 1;
  difference[60] = -1000;
  const ShapedPopulation shaped = shape_pairs(difference, FitnessRule::levels);
  EXPECT_EQ(shaped.ties, 98u);
  EXPECT_EQ(shaped.d[3], 2);
  EXPECT_EQ(shaped.d[60], -2);
  EXPECT_EQ(shaped.sum_magnitudes, 4u);
}

TEST(Shaping, TheLargestDifferencesOfAnIntAreInOrder) {
  const std::vector<int32_t> difference{kLowest, kHighest, -kHighest, kHighest - 1, 1, 0};
  // Sizes 2^31, 2^31 - 1 twice, 2^31 - 2, 1, 0: two from rank floor(79 * 6 / 100) = 4 on.
  EXPECT_EQ(shape_pairs(difference, FitnessRule::levels).d,
            (std::vector<int16_t>{-2, 2, -2, 1, 0, 0}));
}

TEST(Shaping, NoMembersAreNoUtilities) {
  for (const FitnessRule rule : {FitnessRule::sign, FitnessRule::levels, FitnessRule::centred_rank})
    EXPECT_TRUE(shape({}, {.rule = rule}).d.empty());
}

TEST(Shaping, WhatIsNotFiniteIsTheWorstOfItsGeneration) {
  constexpr double kUnfit[] = {
      kNan, -kNan, kInfinity, -kInfinity, 3.5e38, -1e300, std::numeric_limits<double>::max()};
  for (const ShapingSettings& settings : all_settings(10)) {
    std::vector<double> fitness = whole_fitness(300, 1000, 11);
    fitness[17] = -5;  // the worst
    fitness[18] = 2000;
    std::vector<double> replaced = fitness;
    size_t at = 3;
    for (const double unfit : kUnfit) {
      fitness[at] = unfit;
      replaced[at] = -5;
      at += 31;
    }
    fitness[0] = fitness[1] = kNan;  // a pair of them is a tie
    replaced[0] = replaced[1] = -5;
    const ShapedPopulation shaped = shape(fitness, settings);
    const ShapedPopulation expected = shape(replaced, settings);
    EXPECT_EQ(shaped.d, expected.d) << name_of(settings);
    EXPECT_EQ(shaped.unit, expected.unit);
    EXPECT_EQ(shaped.ties, expected.ties);
    EXPECT_EQ(shaped.sum_squares, expected.sum_squares);
    EXPECT_EQ(shaped.fitness.not_finite, 9u);
    EXPECT_EQ(expected.fitness.not_finite, 0u);
    double sum = 0, count = 0, squares = 0;
    for (const double f : fitness)
      if (std::abs(f) < 3e38) sum += f, ++count;
    for (const double f : fitness)
      if (std::abs(f) < 3e38) squares += (f - sum / count) * (f - sum / count);
    EXPECT_DOUBLE_EQ(shaped.fitness.mean, sum / count);
    EXPECT_EQ(shaped.fitness.best, 2000);
    EXPECT_EQ(shaped.fitness.worst, -5);
    EXPECT_DOUBLE_EQ(shaped.fitness.deviation, std::sqrt(squares / count));
  }
}

TEST(Shaping, WithoutAFiniteFitnessThereAreNoUtilities) {
  for (const ShapingSettings& settings : all_settings(4)) {
    const ShapedPopulation shaped =
        shape(std::vector<double>{kNan, kInfinity, -kInfinity, kNan}, settings);
    EXPECT_EQ(shaped.sum_squares, 0u);
    EXPECT_EQ(shaped.d, std::vector<int16_t>(settings.sampling == Sampling::antithetic ? 2 : 4, 0));
    EXPECT_EQ(shaped.fitness.not_finite, 4u);
    EXPECT_EQ(shaped.fitness.mean, 0);
    EXPECT_EQ(shaped.fitness.best, 0);
    EXPECT_EQ(shaped.fitness.worst, 0);
    EXPECT_EQ(shaped.fitness.deviation, 0);
    // One alone is its own worst.
    EXPECT_EQ(shape(std::vector<double>{kNan, 7, -kInfinity, kNan}, settings).sum_squares, 0u);
    EXPECT_EQ(shape(std::vector<double>{kNan, 7, -kInfinity, kNan}, settings).fitness.best, 7);
  }
}

TEST(Shaping, NothingOverflowsAndNothingVanishes) {
  for (const ShapingSettings& settings : all_settings())
    for (const double scale : {1.7e38, 5e-324, 1e-44}) {
      const ShapedPopulation shaped =
          shape(std::vector<double>{-2 * scale, 2 * scale, scale, -scale}, settings);
      EXPECT_TRUE(std::isfinite(shaped.unit)) << name_of(settings) << " " << scale;
      EXPECT_LT(shaped.d[0], 0) << name_of(settings) << " " << scale;
      EXPECT_GT(shaped.sum_squares, 0u);
      EXPECT_LE(largest_of(shaped), kLargestUtility);
    }
}

TEST(Shaping, APopulationThatIsAllEqualTeachesNothing) {
  for (const ShapingSettings& settings : all_settings())
    for (const double value : {0.0, 0.1, -1e9 / 3, 3e38, 5e-324}) {
      const ShapedPopulation shaped = shape(std::vector<double>(6, value), settings);
      EXPECT_EQ(shaped.d,
                std::vector<int16_t>(settings.sampling == Sampling::antithetic ? 3 : 6, 0));
      EXPECT_EQ(shaped.sum_squares + shaped.sum_magnitudes + shaped.active, 0u);
      EXPECT_EQ(shaped.ties, 3u);
      EXPECT_EQ(shaped.unit, 1);
      EXPECT_EQ(shaped.fitness.mean, value) << name_of(settings);
      EXPECT_EQ(shaped.fitness.best, value);
      EXPECT_EQ(shaped.fitness.worst, value);
      EXPECT_EQ(shaped.fitness.deviation, 0);
    }
}

TEST(Shaping, TwoMembersAreAPair) {
  const std::vector<double> fitness{1, 3};
  EXPECT_EQ(shape(fitness, {.rule = FitnessRule::sign}).d, std::vector<int16_t>{-1});
  EXPECT_EQ(shape(fitness, {.rule = FitnessRule::levels}).d, std::vector<int16_t>{-2});
  for (const FitnessRule rule : kRealRules) {
    EXPECT_EQ(shape(fitness, {.rule = rule}).d, std::vector<int16_t>{-1});
    EXPECT_EQ(
        shape(fitness, {rule, Sampling::independent, 2}).d,
        rule == FitnessRule::raw ? (std::vector<int16_t>{1, 3}) : (std::vector<int16_t>{-1, 1}));
  }
  EXPECT_EQ(shape(fitness, {.rule = FitnessRule::raw}).unit, 2);
  EXPECT_EQ(shape(fitness, {.rule = FitnessRule::centred_rank}).unit, 1);
  EXPECT_EQ(shape(fitness, {FitnessRule::centred_rank, Sampling::independent, 2}).unit, 0.5);
  EXPECT_DOUBLE_EQ(shape(fitness, {.rule = FitnessRule::z_score}).unit, 2 / std::sqrt(1 + 1e-5));
}

TEST(Shaping, SumsAndTiesAreThoseOfItsOwnD) {
  for (const ShapingSettings& settings : all_settings()) {
    const std::vector<double> fitness = whole_fitness(500, 40, 4);
    const ShapedPopulation shaped = shape(fitness, settings);
    uint64_t squares = 0, magnitudes = 0, active = 0, ties = 0;
    for (const int d : shaped.d) {
      squares += static_cast<uint64_t>(d * d);
      magnitudes += static_cast<uint64_t>(std::abs(d));
      active += d != 0;
    }
    for (size_t j = 0; j < 250; ++j) ties += fitness[2 * j] == fitness[2 * j + 1];
    EXPECT_EQ(shaped.sum_squares, squares) << name_of(settings);
    EXPECT_EQ(shaped.sum_magnitudes, magnitudes) << name_of(settings);
    EXPECT_EQ(shaped.active, active) << name_of(settings);
    EXPECT_EQ(shaped.ties, ties) << name_of(settings);
    EXPECT_GT(ties, 0u);
  }
}

TEST(Shaping, PermutingGroupsPermutesUtilities) {
  // Of whole numbers, whose sums are exact in any order.
  for (const ShapingSettings& settings : all_settings(4)) {
    const std::vector<double> fitness = whole_fitness(400, 100000, 13);
    const ShapedPopulation shaped = shape(fitness, settings);
    std::vector<size_t> order(100);
    std::iota(order.begin(), order.end(), size_t{0});
    std::shuffle(order.begin(), order.end(), std::mt19937(14));
    std::vector<double> permuted;
    std::vector<int16_t> expected;
    const size_t of_group = shaped.d.size() / 100;
    for (const size_t group : order) {
      for (size_t i = 0; i < 4; ++i) permuted.push_back(fitness[4 * group + i]);
      for (size_t i = 0; i < of_group; ++i) expected.push_back(shaped.d[of_group * group + i]);
    }
    const ShapedPopulation other = shape(permuted, settings);
    EXPECT_EQ(other.d, expected) << name_of(settings);
    EXPECT_EQ(other.unit, shaped.unit) << name_of(settings);
  }
}

TEST(Shaping, WhatCannotBeShapedIsABrokenPromise) {
  const std::vector<double> fitness{1, 2, 3, 4, 5, 6};
  for (const FitnessRule rule : {FitnessRule::sign, FitnessRule::levels})
    EXPECT_THROW(shape(fitness, {rule, Sampling::independent, 2}), Error);
  for (const uint32_t group_size : {0u, 3u, 4u, 12u})
    EXPECT_THROW(shape(fitness, {.rule = FitnessRule::group, .group_size = group_size}), Error);
  EXPECT_THROW(shape(std::span(fitness).first(3), {}), Error);
  EXPECT_NO_THROW(shape(fitness, {.rule = FitnessRule::z_score, .group_size = 4}));
}

// Nothing but the four operations and sqrt, in one order: these are the numbers of every machine.
TEST(Shaping, TheNumbersOfOnePopulationAreKnown) {
  struct Known {
    uint64_t sum_squares, sum_magnitudes;
    double unit;
  };
  std::vector<double> fitness = normal_fitness(200000, 16);
  for (double& f : fitness) f = std::abs(f * f * f);
  const Known known[] = {
      {99932, 99932, 0x1p+0},
      {129667, 87667, 0x1p+0},
      {1576257872, 6187494, 0x1.458154de411c9p+7},
      {1897017698, 8037290, 0x1.45dab279b3492p+7},
      {1576257872, 6187494, 0x1.710bab16238e4p-7},
      {1657124501, 10055901, 0x1.67ed199894ee7p-7},
      {40908312896, 52216616, 0x1.4e9598023d6d4p-11},
      {162660772622, 156201944, 0x1.4fa6d7aeb597cp-12},
      {1576257872, 6187494, 0x1.7123b4ed97444p-7},
      {1662845039, 10078315, 0x1.676074b91aa8dp-7},
  };
  size_t at = 0;
  for (const ShapingSettings& settings : all_settings(2000)) {
    const ShapedPopulation shaped = shape(fitness, settings);
    EXPECT_EQ(shaped.sum_squares, known[at].sum_squares) << name_of(settings);
    EXPECT_EQ(shaped.sum_magnitudes, known[at].sum_magnitudes) << name_of(settings);
    EXPECT_EQ(shaped.unit, known[at].unit) << name_of(settings);
    EXPECT_EQ(shaped.fitness.mean, 0x1.99a99df655556p+12);
    ++at;
  }
}

}  // namespace
}  // namespace eggroll
