// Rank 0's book of a generation whose tiles are taken one by one: who holds which, which are done,
// who is slow. A tile that a slow rank holds is given to another as well; the results are equal by
// construction and the first one counts. No messages and no clock in here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace eggroll {

struct TileRange {
  uint64_t first = 0;
  uint64_t count = 0;
  bool operator==(const TileRange&) const = default;
};

class TileLedger {
 public:
  // A rank that holds tiles is slow once it has shown nothing for straggler_limit times as long as
  // the median tile took (and a little more, for the way of its results).
  TileLedger(uint64_t tiles, int ranks, double straggler_limit);

  // What a rank gets that asks for work: tiles that nobody has had, fewer at a time as they run
  // out, then tiles of slow ranks, one at a time. count 0: nothing for now.
  TileRange grant(int rank, double now_s);
  // The rank has run the tile, which took it `seconds`. True for the first result, which counts.
  bool finish(int rank, uint64_t tile, double seconds, double now_s);

  bool is_complete() const { return done_ == tiles_.size(); }
  uint64_t given_again() const { return given_again_; }

 private:
  struct Tile {
    bool is_done = false;
    std::vector<int> holders;
  };
  struct Rank {
    std::deque<uint64_t> held;  // in the order they were given, which it runs them in
    double last_sign_s = 0;
  };

  double usual_seconds();
  bool is_slow(int rank) const;
  void look_for_slow_ranks(double now_s);
  TileRange grant_again(int rank, double now_s);

  const double straggler_limit_;
  std::vector<Tile> tiles_;
  std::vector<Rank> ranks_;
  uint64_t next_ = 0;  // that nobody has had
  uint64_t done_ = 0;
  uint64_t given_again_ = 0;
  std::vector<double> seconds_;  // of the results that count
  size_t results_in_usual_ = 0;
  double usual_ = 0;
  std::vector<int> slow_;    // ascending
  double looked_at_s_ = -1;  // for them
};

}  // namespace eggroll
