// What a generation did, for those who tell of it; population figures are known to rank 0 only.
#pragma once

#include <cstdint>
#include <vector>

#include "common/generation_plan.hpp"
#include "common/tally.hpp"
#include "worker/task.hpp"

namespace eggroll {

// A rank that took more than straggler_limit times as long for a tile as the median rank.
struct SlowRank {
  int rank = 0;
  double times = 0;  // the median
};

struct UpdateReport {
  uint64_t changed = 0;      // parameters that moved
  double reconstruct_s = 0;  // own pairs' share of Z; of a single rank the step as well
  // Moving messages meanwhile, and what was left to wait for; sharded: the all-gather as well.
  double all_reduce_s = 0;
  double step_s = 0;
  bool sums_travel_wide = false;  // some bucket needed 64 bits on the wire
};

struct GenerationRecord {
  Tally tally;  // over all members
  // What the members add to the running sums: of those whose results came to this rank; empty, zeros.
  std::vector<int64_t> sums;
  FitnessSummary fitness;
  uint64_t ties = 0;          // pairs whose members scored the same
  uint64_t active_pairs = 0;  // with d != 0
  ShapedSummary shaped;
  UpdateReport update;
  double evaluate_s = 0, slowest_evaluate_s = 0;
  double usual_tile_s = 0, slowest_tile_s = 0;  // of the median rank and of the slowest
  int slowest_rank = 0;
  std::vector<SlowRank> slow_ranks;
  uint64_t tiles_given_again = 0;  // to another rank, as theirs was slow
  double gather_s = 0, shape_s = 0, scatter_s = 0;
  uint64_t bytes_sent = 0;      // by all ranks since the start, up to this generation's gather
  bool stop_requested = false;  // by a signal on any rank
};

}  // namespace eggroll
