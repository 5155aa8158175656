#include "coordinator/tiles/fitness_message.hpp"

#include <algorithm>
#include <cstring>

#include "common/messages/ternary.hpp"
#include "common/partition.hpp"
#include "coordinator/generation.hpp"

namespace eggroll {

size_t fitness_bytes(const RunConfig& config, uint64_t pairs) {
  return config.fitness_encoding == FitnessEncoding::ternary ? ternary_bytes(pairs)
                                                             : 2 * pairs * sizeof(int32_t);
}

void encode_fitness(const RunConfig& config, std::span<const int32_t> fitness,
                    std::span<std::byte> message) {
  if (config.fitness_encoding == FitnessEncoding::int32) {
    std::ranges::copy(std::as_bytes(fitness), message.begin());
    return;
  }
  std::vector<int8_t> sign(fitness.size() / 2);
  for (size_t j = 0; j < sign.size(); ++j)
    sign[j] = static_cast<int8_t>((fitness[2 * j] > fitness[2 * j + 1]) -
                                  (fitness[2 * j] < fitness[2 * j + 1]));
  pack_ternary(sign, message);
}

void decode_fitness(const RunConfig& config, std::span<const std::byte> message,
                    std::span<int32_t> difference) {
  if (config.fitness_encoding == FitnessEncoding::int32) {
    for (size_t j = 0; j < difference.size(); ++j) {
      int32_t pair[2];
      std::memcpy(pair, message.data() + j * sizeof pair, sizeof pair);
      difference[j] = pair[0] - pair[1];
    }
    return;
  }
  std::vector<int8_t> sign(difference.size());
  unpack_ternary(message, sign);
  for (size_t j = 0; j < sign.size(); ++j) difference[j] = sign[j];
}

GatheredFitness gather_fitness(Collectives& group, const RunConfig& config,
                               const RankReport& report, std::span<const int32_t> fitness) {
  std::vector<size_t> counts;
  size_t total = 0;
  for (int r = 0; r < group.size(); ++r) {
    counts.push_back(sizeof(RankReport) +
                     fitness_bytes(config, pairs_of_rank(config.pairs(), r, group.size()).count));
    total += counts.back();
  }
  std::vector<std::byte> mine(counts[static_cast<size_t>(group.rank())]);
  std::memcpy(mine.data(), &report, sizeof report);
  encode_fitness(config, fitness, std::span(mine).subspan(sizeof report));
  std::vector<std::byte> all(group.rank() == 0 ? total : 0);
  group.gather(mine, counts, all);

  GatheredFitness gathered;
  if (group.rank() != 0) return gathered;
  gathered.difference.resize(config.pairs());
  std::span<const std::byte> message = all;
  for (int r = 0; r < group.size(); ++r) {
    gathered.reports.emplace_back();
    std::memcpy(&gathered.reports.back(), message.data(), sizeof(RankReport));
    const PairRange pairs = pairs_of_rank(config.pairs(), r, group.size());
    decode_fitness(config, message.subspan(sizeof(RankReport), fitness_bytes(config, pairs.count)),
                   std::span(gathered.difference).subspan(pairs.first, pairs.count));
    message = message.subspan(counts[static_cast<size_t>(r)]);
  }
  return gathered;
}

std::vector<RankReport> gather_reports(Collectives& group, const RankReport& report) {
  const std::vector<size_t> counts(static_cast<size_t>(group.size()), sizeof report);
  std::vector<RankReport> reports(group.rank() == 0 ? counts.size() : 0);
  group.gather(bytes_of(report), counts, bytes_of(reports));
  return reports;
}

void summarise_reports(std::span<const RankReport> reports, double straggler_limit,
                       GenerationRecord& record) {
  std::vector<double> tile_s;
  for (const RankReport& report : reports)
    if (report.tile_s > 0) tile_s.push_back(report.tile_s);
  if (!tile_s.empty()) {
    const auto median = tile_s.begin() + static_cast<ptrdiff_t>((tile_s.size() - 1) / 2);
    std::ranges::nth_element(tile_s, median);
    record.usual_tile_s = *median;
  }
  for (size_t r = 0; r < reports.size(); ++r) {
    const RankReport& report = reports[r];
    record.score_sum += report.score_sum;
    record.bytes_sent += report.bytes_sent;
    record.stop_requested |= report.stop_requested;
    record.slowest_evaluate_s = std::max(record.slowest_evaluate_s, report.evaluate_s);
    if (report.tile_s > straggler_limit * record.usual_tile_s)
      record.slow_ranks.push_back({static_cast<int>(r), report.tile_s / record.usual_tile_s});
    if (report.tile_s <= record.slowest_tile_s) continue;
    record.slowest_tile_s = report.tile_s;
    record.slowest_rank = static_cast<int>(r);
  }
}

void scatter_differences(Collectives& group, const RunConfig& config, std::span<const int8_t> all,
                         std::span<int8_t> mine) {
  std::vector<size_t> counts;
  for (int r = 0; r < group.size(); ++r)
    counts.push_back(pairs_of_rank(config.pairs(), r, group.size()).count);
  group.scatter(std::as_bytes(all), counts, std::as_writable_bytes(mine));
}

}  // namespace eggroll
