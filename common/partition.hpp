// Who evaluates what, and who steps what. A tile is a fixed number of consecutive pairs, a constant
// of the run and not of the ranks: the unit of evaluation and of scheduling. Ranks own contiguous
// slices of whole tiles, computed here and never sent; where members carry no state they may
// evaluate any tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace eggroll {

inline constexpr uint64_t kTilePairs = 16;

struct PairRange {
  uint64_t first = 0;
  uint64_t count = 0;

  uint64_t end() const { return first + count; }
  bool operator==(const PairRange&) const = default;
};

inline uint64_t tiles_of(uint64_t pairs) { return (pairs + kTilePairs - 1) / kTilePairs; }

inline PairRange pairs_of_tile(uint64_t pairs, uint64_t tile) {
  const uint64_t first = tile * kTilePairs;
  return {first, std::min(kTilePairs, pairs - first)};
}

// The pairs of one rank. Slices differ by at most one tile and cover 0 ... pairs - 1 in rank order.
inline PairRange pairs_of_rank(uint64_t pairs, int rank, int ranks) {
  const uint64_t tiles = tiles_of(pairs);
  const auto edge = [&](int r) {
    return std::min(pairs,
                    tiles * static_cast<uint64_t>(r) / static_cast<uint64_t>(ranks) * kTilePairs);
  };
  return {edge(rank), edge(rank + 1) - edge(rank)};
}

// A part of some elements that one rank owns.
struct Shard {
  size_t first = 0;
  size_t count = 0;
};

// The elements of one rank, of so many: equal shards in rank order; the last has what is left over
// as well.
inline Shard shard_of_rank(size_t elements, int rank, int ranks) {
  const size_t each = elements / static_cast<size_t>(ranks);
  const size_t first = each * static_cast<size_t>(rank);
  return {first, rank == ranks - 1 ? elements - first : each};
}

}  // namespace eggroll
