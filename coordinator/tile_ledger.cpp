#include "coordinator/tile_ledger.hpp"

#include <algorithm>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr double kOnTheWay_s = 0.05;  // results may be that old when they arrive

}  // namespace

TileLedger::TileLedger(uint64_t tiles, int ranks, double straggler_limit)
    : straggler_limit_(straggler_limit), tiles_(tiles), ranks_(static_cast<size_t>(ranks)) {}

TileRange TileLedger::grant(int rank, double now_s) {
  const uint64_t left = tiles_.size() - next_;
  if (left == 0) return grant_again(rank, now_s);
  // Half of what is left goes to all ranks alike, so a rank half as fast as the rest is no trouble.
  const TileRange range{next_, std::max<uint64_t>(1, left / (2 * ranks_.size()))};
  Rank& taker = ranks_[static_cast<size_t>(rank)];
  if (taker.held.empty()) taker.last_sign_s = now_s;
  for (; next_ < range.first + range.count; ++next_) {
    tiles_[next_].holders.push_back(rank);
    taker.held.push_back(next_);
  }
  return range;
}

// Of the tiles that slow ranks alone hold, one with the fewest holders, as far as can be from what
// its holder is at.
TileRange TileLedger::grant_again(int rank, double now_s) {
  if (seconds_.empty()) return {};
  const double patience_s = straggler_limit_ * usual_seconds() + kOnTheWay_s;
  const auto is_slow = [&](int r) {
    const Rank& holder = ranks_[static_cast<size_t>(r)];
    return !holder.held.empty() && now_s - holder.last_sign_s > patience_s;
  };
  const Tile* best = nullptr;
  for (size_t r = 0; r < ranks_.size(); ++r) {
    if (!is_slow(static_cast<int>(r))) continue;
    for (auto tile = ranks_[r].held.rbegin(); tile != ranks_[r].held.rend(); ++tile) {
      const Tile& candidate = tiles_[*tile];
      if (candidate.is_done ||
          std::ranges::find(candidate.holders, rank) != candidate.holders.end())
        continue;
      if (best && candidate.holders.size() >= best->holders.size()) continue;
      if (std::ranges::all_of(candidate.holders, is_slow)) best = &candidate;
    }
  }
  if (!best) return {};
  const auto tile = static_cast<uint64_t>(best - tiles_.data());
  Rank& taker = ranks_[static_cast<size_t>(rank)];
  if (taker.held.empty()) taker.last_sign_s = now_s;
  tiles_[tile].holders.push_back(rank);
  taker.held.push_back(tile);
  ++given_again_;
  return {tile, 1};
}

bool TileLedger::finish(int rank, uint64_t tile, double seconds, double now_s) {
  Rank& from = ranks_[static_cast<size_t>(rank)];
  const auto held = std::ranges::find(from.held, tile);
  require(held != from.held.end(), "a result of a tile that the rank was given");
  from.held.erase(held);
  from.last_sign_s = now_s;
  if (tiles_[tile].is_done) return false;
  tiles_[tile].is_done = true;
  ++done_;
  seconds_.push_back(seconds);
  return true;
}

double TileLedger::usual_seconds() {
  if (results_in_usual_ != seconds_.size()) {
    const auto middle = seconds_.begin() + static_cast<ptrdiff_t>(seconds_.size() / 2);
    std::ranges::nth_element(seconds_, middle);
    usual_ = *middle;
    results_in_usual_ = seconds_.size();
  }
  return usual_;
}

}  // namespace eggroll
