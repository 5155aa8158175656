// One generation, from plan to step: start reading here. What travels, with P members and R ranks:
//
//   rank 0                         every rank                                  what travels
//   plan ------------------------> GenerationPlan                              broadcast, 32 bytes
//                                  evaluate the members of my pairs, or of     nothing / letters
//                                  tiles that I take one by one
//   fitness of all  <------------- fitness of these members                    gather, 4 P bytes
//   (ternary: P / 10), 48 a rank
//   shape -> d, thresholds ------> ShapedSummary                               broadcast, 32 bytes
//   d of all  -------------------> d of my pairs                               scatter, P / 2 bytes
//                                  Z of my pairs, integer                      nothing
//                                  all-reduce of Z, bucket by bucket           up to 4 bytes a
//                                                                              parameter, twice
//                                  step, the same on every rank                nothing
//   (sharded: reduce-scatter of Z, step of my shard, all-gather of parameters: once, and 1 byte)
#pragma once

#include <cstdint>
#include <vector>

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "coordinator/update.hpp"
#include "worker/task.hpp"

namespace eggroll {

// A rank that took more than straggler_limit times as long for a tile as the median rank.
struct SlowRank {
  int rank = 0;
  double times = 0;  // the median
};

// What a generation did; population figures are known to rank 0 only.
struct GenerationRecord {
  int64_t score_sum = 0;  // 1/16 bit, over all members and tokens
  uint64_t ties = 0;
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

// stop_requested: whether this rank was asked to stop.
GenerationRecord run_generation(const GenerationPlan& plan, const RunConfig& config,
                                const Meeting& meeting, Task& task, bool stop_requested);

}  // namespace eggroll
