// Scores of pairs -> utility differences.
#include "coordinator/shaping.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

namespace eggroll {
namespace {

constexpr int32_t kLowest = std::numeric_limits<int32_t>::min();
constexpr int32_t kHighest = std::numeric_limits<int32_t>::max();

int sign_of(int64_t value) { return (value > 0) - (value < 0); }

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

// The words of the header, with a full sort.
std::vector<int8_t> levels_by_definition(const std::vector<int32_t>& difference) {
  std::vector<int64_t> sorted;
  for (int64_t v : difference) sorted.push_back(std::abs(v));
  std::sort(sorted.begin(), sorted.end());
  const size_t n = difference.size();
  std::vector<int8_t> d;
  for (int64_t v : difference) {
    const int64_t size = std::abs(v);
    const int level = size < sorted[n / 3] ? 0 : size < sorted[79 * n / 100] ? 1 : 2;
    d.push_back(static_cast<int8_t>(sign_of(v) * level));
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
  const ShapedPopulation shaped = shape(difference, FitnessRule::sign);
  EXPECT_EQ(shaped.d, (std::vector<int8_t>{1, -1, 0, 1, -1, -1, 1, 0}));
  EXPECT_EQ(shaped.ties, 2u);
  EXPECT_EQ(shaped.sum_squares, 6u);
  EXPECT_EQ(shaped.sum_magnitudes, 6u);
}

TEST(Shaping, LevelsGiveTheLowestThirdNothingAndTheTopTwentyOnePercentTwo) {
  const std::vector<int32_t> difference = distinct_sizes(300);
  const ShapedPopulation shaped = shape(difference, FitnessRule::levels);
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
      const ShapedPopulation shaped = shape(difference, FitnessRule::levels);
      ASSERT_EQ(shaped.d, levels_by_definition(difference)) << n << " up to " << largest;
      expect_sums_of_its_own_d(shaped, difference);
    }
}

TEST(Shaping, EqualSizesAreTreatedAlikeWhereverTheyStand) {
  std::mt19937_64 random(8);
  std::vector<int32_t> difference = random_differences(1000, 9, random);
  const ShapedPopulation shaped = shape(difference, FitnessRule::levels);
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
      const ShapedPopulation shaped = shape(difference, rule);
      for (int32_t& v : difference) v = -v;
      const ShapedPopulation exchanged = shape(difference, rule);
      for (size_t j = 0; j < n; ++j) ASSERT_EQ(exchanged.d[j], -shaped.d[j]);
      EXPECT_EQ(exchanged.sum_squares, shaped.sum_squares);
      EXPECT_EQ(exchanged.sum_magnitudes, shaped.sum_magnitudes);
      EXPECT_EQ(exchanged.ties, shaped.ties);
    }
}

TEST(Shaping, PermutingThePairsPermutesTheDifferences) {
  std::mt19937_64 random(10);
  std::vector<int32_t> difference = random_differences(500, 40, random);
  std::vector<int8_t> reversed = shape(difference, FitnessRule::levels).d;
  std::reverse(reversed.begin(), reversed.end());
  std::reverse(difference.begin(), difference.end());
  EXPECT_EQ(shape(difference, FitnessRule::levels).d, reversed);
}

TEST(Shaping, SizesThatAreAllEqualAllCountTwo) {
  const std::vector<int32_t> difference{-4, 4, 4, -4, 4};
  EXPECT_EQ(shape(difference, FitnessRule::levels).d, (std::vector<int8_t>{-2, 2, 2, -2, 2}));
}

TEST(Shaping, OnePairAloneCountsTwoOrNothing) {
  for (const auto& [difference, d] : {std::pair{1, 2}, {-7, -2}, {0, 0}, {kLowest, -2}}) {
    const ShapedPopulation shaped = shape(std::vector<int32_t>{difference}, FitnessRule::levels);
    EXPECT_EQ(shaped.d, std::vector<int8_t>{static_cast<int8_t>(d)});
  }
}

TEST(Shaping, APopulationOfTiesHasNothingToLearnFrom) {
  for (FitnessRule rule : {FitnessRule::sign, FitnessRule::levels}) {
    const ShapedPopulation shaped = shape(std::vector<int32_t>(77, 0), rule);
    EXPECT_EQ(shaped.d, std::vector<int8_t>(77, 0));
    EXPECT_EQ(shaped.ties, 77u);
    EXPECT_EQ(shaped.sum_squares, 0u);
    EXPECT_EQ(shaped.sum_magnitudes, 0u);
  }
}

TEST(Shaping, TiesNeverCountEvenWhereMostOfThePopulationTies) {
  std::vector<int32_t> difference(100, 0);
  difference[3] = 1;
  difference[60] = -1000;
  const ShapedPopulation shaped = shape(difference, FitnessRule::levels);
  EXPECT_EQ(shaped.ties, 98u);
  EXPECT_EQ(shaped.d[3], 2);
  EXPECT_EQ(shaped.d[60], -2);
  EXPECT_EQ(shaped.sum_magnitudes, 4u);
}

TEST(Shaping, TheLargestDifferencesOfAnIntAreInOrder) {
  const std::vector<int32_t> difference{kLowest, kHighest, -kHighest, kHighest - 1, 1, 0};
  // Sizes 2^31, 2^31 - 1 twice, 2^31 - 2, 1, 0: two from rank floor(79 * 6 / 100) = 4 on.
  EXPECT_EQ(shape(difference, FitnessRule::levels).d, (std::vector<int8_t>{-2, 2, -2, 1, 0, 0}));
}

TEST(Shaping, NoPairsAreNoDifferences) {
  EXPECT_TRUE(shape({}, FitnessRule::levels).d.empty());
  EXPECT_TRUE(shape({}, FitnessRule::sign).d.empty());
}

}  // namespace
}  // namespace eggroll
