// What a person is told of slow ranks.
#include "coordinator/records/stragglers.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/tiles/fitness_message.hpp"

namespace eggroll {
namespace {

using Lines = std::vector<std::string>;

RankReport report(double tile_s) {
  RankReport made;
  made.evaluate_s = 3 * tile_s;
  made.tile_s = tile_s;
  return made;
}

TEST(SlowRanks, TakeMoreThanTheLimitTimesTheMedianForATile) {
  GenerationRecord record;
  const std::vector<RankReport> reports = {report(1.0), report(2.1), report(0),
                                           report(0.9), report(1.1), report(5.5)};
  summarise_reports(reports, 2, record);
  EXPECT_DOUBLE_EQ(record.usual_tile_s, 1.1);
  EXPECT_DOUBLE_EQ(record.slowest_tile_s, 5.5);
  EXPECT_EQ(record.slowest_rank, 5);
  EXPECT_DOUBLE_EQ(record.slowest_evaluate_s, 16.5);
  ASSERT_EQ(record.slow_ranks.size(), 1u);
  EXPECT_EQ(record.slow_ranks[0].rank, 5);
  EXPECT_DOUBLE_EQ(record.slow_ranks[0].times, 5);
  GenerationRecord strict;
  summarise_reports(reports, 1.5, strict);
  EXPECT_EQ(strict.slow_ranks.size(), 2u);
}

TEST(SlowRanks, AreNoneOnOneRankOrWithoutReports) {
  GenerationRecord record;
  summarise_reports({}, 2, record);
  summarise_reports(std::vector<RankReport>{report(7)}, 2, record);
  summarise_reports(std::vector<RankReport>{report(0), report(0)}, 2, record);
  EXPECT_TRUE(record.slow_ranks.empty());
}

TEST(Stragglers, AreNamedOnceTheyAreSlowTenTimesInARow) {
  Stragglers stragglers;
  stragglers.know_ranks({"rank 0 on n1", "rank 1 on n7"});
  for (int g = 0; g < 9; ++g) EXPECT_EQ(stragglers.add({{1, 3}}), Lines{}) << g;
  EXPECT_EQ(stragglers.add({}), Lines{});
  for (int g = 0; g < 9; ++g) EXPECT_EQ(stragglers.add({{1, 3}}), Lines{}) << g;
  EXPECT_EQ(stragglers.add({{1, 3.26}}),
            Lines{"rank 1 on n7 is slow: a tile takes it 3.3 times as long as others"});
  for (int g = 0; g < 20; ++g) EXPECT_EQ(stragglers.add({{1, 3}}), Lines{}) << g;
  EXPECT_EQ(stragglers.names_of({{1, 3}, {0, 4}}), (Lines{"rank 1 on n7", "rank 0 on n1"}));
}

TEST(Stragglers, AreInTheSummaryFromATenthOfTheGenerationsOn) {
  Stragglers stragglers;
  stragglers.know_ranks({"rank 0 on n1", "rank 1 on n2", "rank 2 on n3"});
  for (int g = 0; g < 40; ++g) {
    std::vector<SlowRank> slow;
    if (g % 2 == 0) slow.push_back({0, 2.5});
    if (g < 3) slow.push_back({1, 99});
    if (g % 10 == 9) slow.push_back({2, 100});
    stragglers.add(slow);
  }
  // The group has changed, and with it the numbers of the ranks; the names have not.
  stragglers.know_ranks({"rank 2 on n3"});
  EXPECT_EQ(
      stragglers.summary(),
      (Lines{"slow                     rank 2 on n3: in 4 of 40 generations, 100.0 times as long "
             "for a tile as others",
             "slow                     rank 0 on n1: in 20 of 40 generations, 2.5 times as long "
             "for a tile as others"}));
}

}  // namespace
}  // namespace eggroll
