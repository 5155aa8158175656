// Statistics of observations: sums that nothing about their order changes, and the mean and deviation
// that come of them.
#include "worker/control/observation_statistics.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

namespace eggroll {
namespace {

constexpr size_t kNumbers = 3;
using Observation = std::array<float, kNumbers>;

std::vector<int64_t> words_of(std::span<const Observation> observations, size_t tiles = 1) {
  std::vector<int64_t> words(statistics_words(kNumbers));
  for (size_t tile = 0; tile < tiles; ++tile) {
    ObservationSums sums(kNumbers);
    for (size_t i = tile; i < observations.size(); i += tiles) sums.add(observations[i]);
    sums.add_to(words);
  }
  return words;
}

std::vector<Observation> some(size_t count) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<Observation> observations(count);
  for (Observation& each : observations)
    each = {1000 + 0.5f * normal(random), -3 * normal(random), 0.01f * normal(random) - 20};
  return observations;
}

Observation normalised(std::span<const int64_t> words, const Observation& observation) {
  Normaliser normaliser(kNumbers);
  normaliser.read(words);
  Observation to;
  normaliser.apply(observation, to);
  return to;
}

TEST(ObservationStatistics, AreMeanAndDeviationOfAllThatWasSeen) {
  const auto observations = some(4000);
  const auto words = words_of(observations);
  EXPECT_EQ(words[0], 4000);
  for (size_t d = 0; d < kNumbers; ++d) {
    long double mean = 0, variance = 0;
    for (const Observation& each : observations) mean += each[d] / 4000.0L;
    for (const Observation& each : observations)
      variance += (each[d] - mean) * (each[d] - mean) / 4000.0L;
    const auto deviation = static_cast<double>(std::sqrt(variance));
    Observation at{};
    at[d] = static_cast<float>(static_cast<double>(mean) + 2 * deviation);
    // A float near 1000 is off by 2^-15 at most, near 20 by 2^-20; an observation by 2^-21.
    EXPECT_NEAR(normalised(words, at)[d], 2, 3e-4) << d;
  }
}

TEST(ObservationStatistics, DoNotDependOnOrderNorOnHowManyCountThem) {
  auto observations = some(500);
  const auto expected = words_of(observations);
  std::ranges::reverse(observations);
  EXPECT_EQ(words_of(observations), expected);
  // Of tiles: as many words as tiles, whoever adds them up, and in any order.
  const auto of_tiles = words_of(observations, 7);
  EXPECT_EQ(of_tiles[0], 500);
  EXPECT_NE(of_tiles, expected) << "carries between words are left to whoever reads them";
  for (const Observation& at : observations)
    EXPECT_EQ(normalised(of_tiles, at), normalised(expected, at));
}

TEST(ObservationStatistics, LeaveObservationsAloneBeforeThereAreAny) {
  const Observation at = {1.5f, -70000, 0.25f};
  EXPECT_EQ(normalised(std::vector<int64_t>(statistics_words(kNumbers)), at), at);
}

TEST(ObservationStatistics, AreClippedAndSoIsWhatTheyScale) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  const std::vector<Observation> far = {{1e30f, -1e30f, std::nanf("")}, {kInfinite, -kInfinite, 0}};
  const auto words = words_of(far);
  EXPECT_EQ((words[2] << 32) + words[1], int64_t{1} << 36);
  EXPECT_EQ((words[7] << 32) + words[6], -(int64_t{1} << 36));
  EXPECT_EQ((words[12] << 32) + words[11], 0);
  const auto seen = words_of(some(50));
  EXPECT_EQ(normalised(seen, {2000, -1000, 0}), (Observation{5, -5, 5}));
}

// What was always the same stays small when it first moves, and is no division by zero.
TEST(ObservationStatistics, OfANumberThatNeverMovesAreNoDivisionByZero) {
  const std::vector<Observation> still(10, {3, 3, 3});
  const auto words = words_of(still);
  EXPECT_EQ(normalised(words, {3, 3, 3}), (Observation{0, 0, 0}));
  EXPECT_EQ(normalised(words, {4, 2, 3}), (Observation{5, -5, 0}));
}

// Words that no run has made, as of a damaged file, give some numbers and no undefined behaviour.
TEST(ObservationStatistics, OfWordsThatNoRunHasMadeAreSomething) {
  for (const int64_t word : {std::numeric_limits<int64_t>::max(),
                             std::numeric_limits<int64_t>::min(), int64_t{-1}, int64_t{0}})
    for (const int64_t count : {int64_t{1}, int64_t{-7}, std::numeric_limits<int64_t>::max()}) {
      std::vector<int64_t> words(statistics_words(kNumbers), word);
      words[0] = count;
      for (const float number : normalised(words, {1, 2, 3})) EXPECT_FALSE(std::isnan(number));
    }
}

// Sums beyond 64 bits: the longest that a run may come to.
TEST(ObservationStatistics, HoldALongRun) {
  std::vector<int64_t> words = words_of(std::vector<Observation>(1000, {32768, -32768, 16384}));
  for (int doubling = 0; doubling < 30; ++doubling)
    for (int64_t& word : words) word *= 2;
  EXPECT_EQ(words[0], int64_t{1000} << 30);
  EXPECT_EQ(normalised(words, {32768, -32768, 16384}), (Observation{0, 0, 0}));
}

}  // namespace
}  // namespace eggroll
