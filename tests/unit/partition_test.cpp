// Shards of elements cover them all in rank order.
#include "common/partition.hpp"

#include <gtest/gtest.h>

#include <cstddef>

namespace eggroll {
namespace {

TEST(Shards, AreEqualAndTheLastHasTheRest) {
  for (size_t elements : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{9}, size_t{1} << 33})
    for (int ranks : {1, 2, 3, 8, 4096}) {
      size_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const Shard shard = shard_of_rank(elements, rank, ranks);
        EXPECT_EQ(shard.first, next);
        next += shard.count;
        if (rank < ranks - 1) {
          EXPECT_EQ(shard.count, elements / static_cast<size_t>(ranks));
        }
      }
      EXPECT_EQ(next, elements);
    }
}

}  // namespace
}  // namespace eggroll
