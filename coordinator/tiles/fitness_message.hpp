// How fitness goes up to rank 0 and differences come down: one gather, one scatter. Tiles that are
// taken one by one send theirs in letters, in the same encoding.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "common/config.hpp"
#include "common/messages/collectives.hpp"

namespace eggroll {

struct GenerationRecord;

// Travels in front of each rank's fitness.
struct RankReport {
  double evaluate_s = 0;
  double tile_s = 0;  // of it for each tile; 0: this rank ran none
  uint64_t bytes_sent = 0;
  int64_t score_sum = 0;
  uint64_t letters = 0;  // this generation
  bool stop_requested = false;
};
static_assert(std::is_trivially_copyable_v<RankReport>);

// Empty on other ranks than 0.
struct GatheredFitness {
  std::vector<int32_t> difference;  // [pairs] first member - second; with ternary encoding its sign
  std::vector<RankReport> reports;  // [ranks]
};

// Fitness, two a pair, as it travels; differences are what rank 0 makes of it.
size_t fitness_bytes(const RunConfig& config, uint64_t pairs);
void encode_fitness(const RunConfig& config, std::span<const int32_t> fitness,
                    std::span<std::byte> message);
void decode_fitness(const RunConfig& config, std::span<const std::byte> message,
                    std::span<int32_t> difference);

GatheredFitness gather_fitness(Collectives& group, const RunConfig& config,
                               const RankReport& report, std::span<const int32_t> fitness);
// The reports alone; empty on other ranks than 0.
std::vector<RankReport> gather_reports(Collectives& group, const RankReport& report);
void summarise_reports(std::span<const RankReport> reports, double straggler_limit,
                       GenerationRecord& record);

// all: [pairs] on rank 0; mine: of this rank's pairs.
void scatter_differences(Collectives& group, const RunConfig& config, std::span<const int8_t> all,
                         std::span<int8_t> mine);

}  // namespace eggroll
