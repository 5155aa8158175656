#include "coordinator/tiles/tile_shelf.hpp"

#include <algorithm>
#include <utility>

#include "common/check.hpp"

namespace eggroll {

std::optional<PairRange> TileShelf::take(uint64_t at_most) {
  std::unique_lock lock(mutex_);
  ++asking_;
  changed_.wait(lock, [&] { return is_closed_ || !waiting_.empty(); });
  const size_t tiles = std::min(std::max<size_t>(1, at_most / kTilePairs),
                                (waiting_.size() + asking_ - 1) / asking_);
  --asking_;
  return take_waiting(tiles);
}

std::optional<PairRange> TileShelf::take_ready(uint64_t at_most) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() <= asking_) return std::nullopt;  // those that wait have nothing to do
  return take_waiting(std::max<size_t>(1, at_most / kTilePairs));
}

std::optional<PairRange> TileShelf::take_waiting(size_t tiles) {
  if (is_closed_) return std::nullopt;
  PairRange taken;
  for (size_t i = 0; i < tiles && !waiting_.empty(); ++i) {
    const uint64_t tile = waiting_.front();
    const PairRange pairs = pairs_of_tile(pairs_, tile);
    if (i == 0) taken.first = pairs.first;
    if (pairs.first != taken.end()) break;
    waiting_.pop_front();
    running_.emplace(tile, Stopwatch());
    taken.count += pairs.count;
  }
  return taken;
}

void TileShelf::finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
                       std::span<const int64_t> sums) {
  const std::lock_guard lock(mutex_);
  const uint64_t tile = pairs.first / kTilePairs;
  const auto running = running_.find(tile);
  require(running != running_.end() && pairs == pairs_of_tile(pairs_, tile),
          "the fitness of one tile that was taken");
  const double seconds = running->second.elapsed_s();
  running_.erase(running);
  finished_s_ += seconds;
  ++finished_;
  results_.push_back(
      {tile, seconds, {fitness.begin(), fitness.end()}, tally, {sums.begin(), sums.end()}});
}

void TileShelf::end() {
  is_over_ = true;
  close();
}

void TileShelf::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  changed_.notify_all();
}

void TileShelf::put(const TileRange& tiles) {
  const std::lock_guard lock(mutex_);
  for (uint64_t i = 0; i < tiles.count; ++i) waiting_.push_back(tiles.first + i);
  changed_.notify_all();
}

size_t TileShelf::asking() const {
  const std::lock_guard lock(mutex_);
  return asking_;
}

bool TileShelf::is_empty() const {
  const std::lock_guard lock(mutex_);
  return waiting_.empty();
}

std::vector<TileResult> TileShelf::take_results() {
  const std::lock_guard lock(mutex_);
  return std::exchange(results_, {});
}

double TileShelf::tile_s() const {
  const std::lock_guard lock(mutex_);
  if (finished_ > 0) return finished_s_ / static_cast<double>(finished_);
  double longest = 0;
  for (const auto& [tile, watch] : running_) longest = std::max(longest, watch.elapsed_s());
  return longest;
}

}  // namespace eggroll
