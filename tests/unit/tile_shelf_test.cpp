// What lies on a rank's shelf: every tile goes to one thread, and threads that wait together share.
#include "coordinator/tiles/tile_shelf.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr uint64_t kPairs = 20 * kTilePairs;

TEST(TileShelf, GivesOneThreadAsManyAsItAsksFor) {
  TileShelf shelf(kPairs);
  shelf.put({0, 8});
  EXPECT_EQ(shelf.take(6 * kTilePairs), (PairRange{0, 6 * kTilePairs}));
  EXPECT_FALSE(shelf.is_empty());
  EXPECT_EQ(shelf.take(6 * kTilePairs), (PairRange{6 * kTilePairs, 2 * kTilePairs}));
  EXPECT_TRUE(shelf.is_empty());
  shelf.close();
  EXPECT_EQ(shelf.take(6 * kTilePairs), std::nullopt);
}

TEST(TileShelf, LetsNobodyWaitWhoHasTilesInHand) {
  TileShelf shelf(kPairs);
  EXPECT_EQ(shelf.take_ready(kTilePairs), std::nullopt);
  shelf.put({0, 3});
  EXPECT_EQ(shelf.take_ready(kTilePairs), (PairRange{0, kTilePairs}));
  EXPECT_EQ(shelf.take_ready(6 * kTilePairs), (PairRange{kTilePairs, 2 * kTilePairs}));
  EXPECT_TRUE(shelf.is_empty());
  shelf.put({3, 1});
  shelf.close();
  EXPECT_EQ(shelf.take_ready(kTilePairs), std::nullopt);
}

TEST(TileShelf, GivesTilesThatFollowEachOther) {
  TileShelf shelf(kPairs - 3);  // the last tile is not full
  shelf.put({18, 2});
  shelf.put({4, 1});
  EXPECT_EQ(shelf.take(100 * kTilePairs), (PairRange{18 * kTilePairs, 2 * kTilePairs - 3}));
  EXPECT_EQ(shelf.take(1), (PairRange{4 * kTilePairs, kTilePairs})) << "one at least";
}

TEST(TileShelf, KeepsTheFitnessOfATileUntilItIsTold) {
  TileShelf shelf(kPairs);
  shelf.put({2, 2});
  const auto taken = shelf.take(2 * kTilePairs);
  ASSERT_TRUE(taken.has_value());
  const std::vector<double> fitness(2 * kTilePairs, 0.5);
  shelf.finish(pairs_of_tile(kPairs, 3), fitness, {{7, 1, 0, 0}});
  EXPECT_THROW(shelf.finish(*taken, fitness, {}), Error) << "two tiles at once";
  const std::vector<TileResult> results = shelf.take_results();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].tile, 3u);
  EXPECT_EQ(results[0].fitness, fitness);
  EXPECT_EQ(results[0].tally, (Tally{{7, 1, 0, 0}}));
  EXPECT_FALSE(shelf.is_over());
  shelf.end();
  EXPECT_TRUE(shelf.is_over());
  EXPECT_EQ(shelf.take(1), std::nullopt);
}

TEST(TileShelf, GivesThreadsThatWaitTogetherEqualShares) {
  TileShelf shelf(kPairs);
  std::vector<std::future<std::optional<PairRange>>> threads;
  for (int t = 0; t < 3; ++t)
    threads.push_back(std::async(std::launch::async, [&] { return shelf.take(6 * kTilePairs); }));
  while (shelf.asking() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  shelf.put({0, 8});
  std::multiset<size_t> sizes;
  std::set<uint64_t> firsts;
  for (auto& thread : threads) {
    const PairRange taken = thread.get().value();
    sizes.insert(taken.count / kTilePairs);
    for (uint64_t pair = taken.first; pair < taken.end(); pair += kTilePairs) firsts.insert(pair);
  }
  EXPECT_EQ(sizes, (std::multiset<size_t>{2, 3, 3}));
  EXPECT_EQ(firsts.size(), 8u);
  EXPECT_EQ(shelf.asking(), 0u);
}

}  // namespace
}  // namespace eggroll
