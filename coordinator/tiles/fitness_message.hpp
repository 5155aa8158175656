// How fitness goes up to rank 0 and utilities come down: one gather, one scatter. Tiles that are taken
// one by one send theirs by mail, in the same encoding.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "common/config.hpp"
#include "common/messages/collectives.hpp"
#include "common/tally.hpp"
#include "coordinator/generation_record.hpp"

namespace eggroll {

// Travels in front of each rank's fitness.
struct RankReport {
  double evaluate_s = 0;
  double tile_s = 0;  // of it for each tile; 0: this rank ran none
  uint64_t bytes_sent = 0;
  Tally tally = {};
  uint64_t posted = 0;  // mail, this generation
  bool stop_requested = false;
};
static_assert(std::is_trivially_copyable_v<RankReport>);

// Empty on other ranks than 0.
struct GatheredFitness {
  std::vector<double> fitness;      // [members]; see evaluate_population
  std::vector<RankReport> reports;  // [ranks]
};

// Fitness, two a pair, as it travels: an int32 or a float32 a member, or a ternary sign a pair,
// which is decoded as that sign of the first member and 0 of the second.
size_t fitness_bytes(FitnessEncoding encoding, uint64_t pairs);
void encode_fitness(FitnessEncoding encoding, std::span<const double> fitness,
                    std::span<std::byte> message);
void decode_fitness(FitnessEncoding encoding, std::span<const std::byte> message,
                    std::span<double> fitness);

GatheredFitness gather_fitness(Collectives& group, const RunConfig& config,
                               const RankReport& report, std::span<const double> fitness);
// The reports alone; empty on other ranks than 0.
std::vector<RankReport> gather_reports(Collectives& group, const RankReport& report);
void summarise_reports(std::span<const RankReport> reports, double straggler_limit,
                       GenerationRecord& record);

// all: [pairs x perturbations of a pair] on rank 0. Gives those of this rank's pairs. A byte each where
// the shaping's utilities fit.
std::vector<int16_t> scatter_utilities(Collectives& group, const RunConfig& config,
                                       std::span<const int16_t> all);
size_t utility_bytes(FitnessRule rule);

}  // namespace eggroll
