// Between the thread that exchanges letters and those that run tiles: tiles that wait, results that
// are to be told.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "common/stopwatch.hpp"
#include "coordinator/tiles/tile_ledger.hpp"
#include "kernels/backend.hpp"

namespace eggroll {

struct TileResult {
  uint64_t tile = 0;
  double seconds = 0;
  std::vector<int32_t> fitness;  // two a pair
};

class TileShelf final : public TileSource {
 public:
  explicit TileShelf(uint64_t pairs) : pairs_(pairs) {}

  // Where several threads ask at the same time, each gets an equal share at most.
  std::vector<PairRange> take(size_t at_most) override;
  void finish(PairRange pairs, std::span<const int32_t> fitness) override;
  void close() override;

  void put(const TileRange& tiles);
  bool is_empty() const;  // every tile has been taken
  size_t asking() const;  // threads that are inside take
  // Those since the last call.
  std::vector<TileResult> take_results();
  // What a tile takes a thread: the mean of those finished, or for how long the others have been
  // running already. 0: none was taken.
  double tile_s() const;

 private:
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
};

}  // namespace eggroll
