#include "coordinator/tiles/tile_ledger.hpp"

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

bool TileLedger::is_slow(int rank) const { return std::ranges::binary_search(slow_, rank); }

// Once for all ranks that ask at the same time.
void TileLedger::look_for_slow_ranks(double now_s) {
  if (looked_at_s_ == now_s) return;
  looked_at_s_ = now_s;
  slow_.clear();
  const double patience_s = straggler_limit_ * usual_seconds() + kOnTheWay_s;
  for (size_t r = 0; r < ranks_.size(); ++r)
    if (!ranks_[r].held.empty() && now_s - ranks_[r].last_sign_s > patience_s)
      slow_.push_back(static_cast<int>(r));
}

// Of the tiles that slow ranks alone hold, one with the fewest holders, as far as can be from what
// its holder is at.
TileRange TileLedger::grant_again(int rank, double now_s) {
  if (seconds_.empty()) return {};
  look_for_slow_ranks(now_s);
  const Tile* best = nullptr;
  for (const int slow : slow_) {
    const std::deque<uint64_t>& held = ranks_[static_cast<size_t>(slow)].held;
    for (auto tile = held.rbegin(); tile != held.rend(); ++tile) {
      const Tile& candidate = tiles_[*tile];
      if (candidate.is_done ||
          std::ranges::find(candidate.holders, rank) != candidate.holders.end())
        continue;
      if (best && candidate.holders.size() >= best->holders.size()) continue;
      if (std::ranges::all_of(candidate.holders, [&](int r) { return is_slow(r); }))
        best = &candidate;
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
