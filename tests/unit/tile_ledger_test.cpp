// The book of the tiles: each is given and counted once, whatever the ranks do, and what a slow
// rank holds is given again.
#include "coordinator/tiles/tile_ledger.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <queue>
#include <random>
#include <set>
#include <vector>

#include "common/check.hpp"

namespace eggroll {
namespace {

TEST(TileLedger, GivesEveryTileOnceFewerAtATime) {
  TileLedger ledger(100, 4, 2);
  uint64_t next = 0, before = 100;
  for (int turn = 0; next < 100; ++turn) {
    const TileRange range = ledger.grant(turn % 4, 0);
    ASSERT_GT(range.count, 0u);
    EXPECT_EQ(range.first, next);
    EXPECT_LE(range.count, before);
    before = range.count;
    next += range.count;
  }
  EXPECT_EQ(before, 1u);
  EXPECT_EQ(ledger.grant(0, 1e9).count, 0u) << "nobody has shown how long a tile takes";
  for (uint64_t tile = 0; tile < 100; ++tile) EXPECT_FALSE(ledger.is_complete()) << tile;
}

TEST(TileLedger, OneRankTakesAll) {
  TileLedger ledger(7, 1, 2);
  double now = 0;
  for (uint64_t done = 0; done < 7;) {
    const TileRange range = ledger.grant(0, now);
    ASSERT_GT(range.count, 0u);
    for (uint64_t i = 0; i < range.count; ++i, ++done)
      EXPECT_TRUE(ledger.finish(0, range.first + i, 1, now += 1));
  }
  EXPECT_TRUE(ledger.is_complete());
  EXPECT_EQ(ledger.given_again(), 0u);
}

TEST(TileLedger, ARankThatShowsNothingForTooLongLosesItsTilesToTheOthers) {
  TileLedger ledger(3, 3, 2);
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(ledger.grant(rank, 0).count, 1u);
  EXPECT_TRUE(ledger.finish(0, 0, /*seconds=*/1, /*now_s=*/1));
  EXPECT_EQ(ledger.grant(0, 1).count, 0u) << "the others are as fast so far";
  EXPECT_EQ(ledger.grant(0, 2.0).count, 0u) << "twice as long is within the limit";
  const TileRange again = ledger.grant(0, 2.2);
  ASSERT_EQ(again.count, 1u);
  EXPECT_EQ(ledger.grant(0, 2.2).count, 1u) << "the other slow rank's";
  EXPECT_EQ(ledger.grant(0, 2.3).count, 0u) << "a rank is not given what it has";
  EXPECT_EQ(ledger.given_again(), 2u);
  const int slow = again.first == 1 ? 1 : 2;
  EXPECT_TRUE(ledger.finish(0, again.first, 1, 3.2));
  EXPECT_FALSE(ledger.finish(slow, again.first, 3.3, 3.3)) << "the first result is in";
  EXPECT_FALSE(ledger.is_complete());
  EXPECT_TRUE(ledger.finish(3 - slow, 3 - again.first, 3.4, 3.4)) << "the slow rank was first";
  EXPECT_TRUE(ledger.is_complete());
  EXPECT_FALSE(ledger.finish(0, 3 - again.first, 1, 4.2));
}

TEST(TileLedger, TakesWhatIsFarthestFromWhatTheSlowRankIsAt) {
  TileLedger ledger(8, 2, 2);
  ASSERT_EQ(ledger.grant(0, 0), (TileRange{0, 2}));
  ASSERT_EQ(ledger.grant(1, 0), (TileRange{2, 1}));
  EXPECT_TRUE(ledger.finish(1, 2, 1, 1));
  for (uint64_t tile = 3; tile < 8; ++tile) {
    ASSERT_EQ(ledger.grant(1, 1), (TileRange{tile, 1}));
    EXPECT_TRUE(ledger.finish(1, tile, 1, 1));
  }
  EXPECT_EQ(ledger.grant(1, 3), (TileRange{1, 1}));
  EXPECT_EQ(ledger.grant(1, 3), (TileRange{0, 1}));
}

TEST(TileLedger, RefusesAResultThatNobodyAskedFor) {
  TileLedger ledger(2, 2, 2);
  EXPECT_THROW(ledger.finish(1, 0, 1, 1), Error);
  ledger.grant(0, 0);
  ledger.finish(0, 0, 1, 1);
  EXPECT_THROW(ledger.finish(0, 0, 1, 2), Error);
}

// Ranks of random speeds, some of which stop for ever, run through the book by the clock.
TEST(TileLedger, EndsWhateverTheRanksDoAndCountsEachTileOnce) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto draw = [&](int from, int to) {
      return std::uniform_int_distribution<int>(from, to)(random);
    };
    const int ranks = draw(1, 9);
    const uint64_t tiles = static_cast<uint64_t>(draw(1, 200));
    TileLedger ledger(tiles, ranks, 2);
    std::vector<double> pace;  // seconds a tile
    for (int r = 0; r < ranks; ++r) pace.push_back(draw(0, 3) == 0 ? draw(2, 50) : 1);
    pace[static_cast<size_t>(draw(0, ranks - 1))] = 1;
    const bool one_stops = ranks > 1 && draw(0, 1) == 0;
    const int stops = draw(0, ranks - 1);

    struct Event {
      double at;
      int rank;
      uint64_t tile;
      bool operator<(const Event& other) const { return at > other.at; }
    };
    std::priority_queue<Event> events;
    std::vector<std::queue<uint64_t>> shelf(static_cast<size_t>(ranks));
    std::vector<bool> is_running(shelf.size(), false);
    std::set<uint64_t> counted;
    double now = 0;
    const auto go_on = [&] {
      for (size_t r = 0; r < shelf.size(); ++r) {
        if (is_running[r]) continue;
        if (shelf[r].empty()) {
          const TileRange range = ledger.grant(static_cast<int>(r), now);
          for (uint64_t i = 0; i < range.count; ++i) shelf[r].push(range.first + i);
        }
        if (shelf[r].empty()) continue;
        is_running[r] = true;
        const bool never = one_stops && static_cast<int>(r) == stops && pace[r] > 1;
        events.push({now + (never ? 1e9 : pace[r]), static_cast<int>(r), shelf[r].front()});
        shelf[r].pop();
      }
    };
    while (!ledger.is_complete()) {
      go_on();
      ASSERT_LT(now, 1e6) << "it waits for the rank that stopped";
      ASSERT_FALSE(events.empty());
      // A rank that has nothing asks again every tenth of a second.
      const double next = now + 0.1;
      if (events.top().at > next) {
        now = next;
        continue;
      }
      const Event event = events.top();
      events.pop();
      now = event.at;
      is_running[static_cast<size_t>(event.rank)] = false;
      if (ledger.finish(event.rank, event.tile, pace[static_cast<size_t>(event.rank)], now)) {
        EXPECT_TRUE(counted.insert(event.tile).second);
      }
    }
    EXPECT_EQ(counted.size(), tiles);
  }
}

}  // namespace
}  // namespace eggroll
