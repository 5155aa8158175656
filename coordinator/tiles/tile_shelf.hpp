// Between the thread that exchanges mail and those that run tiles: tiles that wait, results that are to
// be told.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "common/pair_source.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/tiles/tile_ledger.hpp"

namespace eggroll {

struct TileResult {
  uint64_t tile = 0;
  double seconds = 0;
  std::vector<double> fitness;  // two a pair
  Tally tally;
  std::vector<int64_t> sums;  // nothing where the task has none
};

class TileShelf final : public PairSource {
 public:
  explicit TileShelf(uint64_t pairs) : pairs_(pairs) {}

  uint64_t known() const override { return 0; }
  // Whole tiles that follow each other, one at least. Where several threads ask at the same time, each
  // gets an equal share at most.
  std::optional<PairRange> take(uint64_t at_most) override;
  std::optional<PairRange> take_ready(uint64_t at_most) override;
  // Of one tile.
  using PairSource::finish;
  void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
              std::span<const int64_t> sums) override;
  bool is_over() const override { return is_over_; }
  void close() override;
  // All tiles are done, here or elsewhere: what still runs is left.
  void end();

  void put(const TileRange& tiles);
  bool is_empty() const;  // every tile has been taken
  size_t asking() const;  // threads that are inside take; for tests
  // Those since the last call.
  std::vector<TileResult> take_results();
  // What a tile takes a thread: the mean of those finished, or for how long the others have been
  // running already. 0: none was taken.
  double tile_s() const;

 private:
  std::optional<PairRange> take_waiting(size_t tiles);  // under the lock, so many at most

  const uint64_t pairs_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<uint64_t> waiting_;
  size_t asking_ = 0;
  std::map<uint64_t, Stopwatch> running_;
  std::vector<TileResult> results_;
  double finished_s_ = 0;
  uint64_t finished_ = 0;
  bool is_closed_ = false;
  std::atomic<bool> is_over_ = false;
};

}  // namespace eggroll
