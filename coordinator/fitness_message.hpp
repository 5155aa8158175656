// How fitness goes up to rank 0 and differences come down: one gather, one scatter.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "common/collectives.hpp"
#include "common/config.hpp"

namespace eggroll {

struct GenerationRecord;

// Travels in front of each rank's fitness.
struct RankReport {
  double evaluate_s = 0;
  uint64_t bytes_sent = 0;
  int64_t score_sum = 0;
  bool stop_requested = false;
};
static_assert(std::is_trivially_copyable_v<RankReport>);

// Empty on other ranks than 0.
struct GatheredFitness {
  std::vector<int32_t> difference;  // [pairs] first member - second; with ternary encoding its sign
  std::vector<RankReport> reports;  // [ranks]
};

GatheredFitness gather_fitness(Collectives& group, const RunConfig& config,
                               const RankReport& report, std::span<const int32_t> fitness);
void summarise_reports(std::span<const RankReport> reports, GenerationRecord& record);

// all: [pairs] on rank 0; mine: of this rank's pairs.
void scatter_differences(Collectives& group, const RunConfig& config, std::span<const int8_t> all,
                         std::span<int8_t> mine);

}  // namespace eggroll
