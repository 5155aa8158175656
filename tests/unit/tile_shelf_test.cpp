// What lies on a rank's shelf: every tile goes to one thread, and threads that wait together share.
#include "coordinator/tiles/tile_shelf.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <set>
#include <thread>
#include <vector>

namespace eggroll {
namespace {

constexpr uint64_t kPairs = 20 * kTilePairs;

TEST(TileShelf, GivesOneThreadAsManyAsItAsksFor) {
  TileShelf shelf(kPairs);
  shelf.put({0, 8});
  EXPECT_EQ(shelf.take(6).size(), 6u);
  EXPECT_FALSE(shelf.is_empty());
  const std::vector<PairRange> rest = shelf.take(6);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0], pairs_of_tile(kPairs, 6));
  EXPECT_EQ(rest[1], pairs_of_tile(kPairs, 7));
  EXPECT_TRUE(shelf.is_empty());
  shelf.close();
  EXPECT_TRUE(shelf.take(6).empty());
}

TEST(TileShelf, GivesThreadsThatWaitTogetherEqualShares) {
  TileShelf shelf(kPairs);
  std::vector<std::future<std::vector<PairRange>>> threads;
  for (int t = 0; t < 3; ++t)
    threads.push_back(std::async(std::launch::async, [&] { return shelf.take(6); }));
  while (shelf.asking() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  shelf.put({0, 8});
  std::multiset<size_t> sizes;
  std::set<uint64_t> firsts;
  for (auto& thread : threads) {
    const std::vector<PairRange> taken = thread.get();
    sizes.insert(taken.size());
    for (const PairRange& pairs : taken) firsts.insert(pairs.first);
  }
  EXPECT_EQ(sizes, (std::multiset<size_t>{2, 3, 3}));
  EXPECT_EQ(firsts.size(), 8u);
  EXPECT_EQ(shelf.asking(), 0u);
}

}  // namespace
}  // namespace eggroll
