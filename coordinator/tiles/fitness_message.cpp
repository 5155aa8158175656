#include "coordinator/tiles/fitness_message.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/messages/ternary.hpp"
#include "common/partition.hpp"

namespace eggroll {
namespace {

// What no float can hold is as good as infinite.
float wire_of(double fitness, float) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (std::abs(fitness) > kLargest) return fitness > 0 ? HUGE_VALF : -HUGE_VALF;
  return static_cast<float>(fitness);
}
int32_t wire_of(double fitness, int32_t) { return static_cast<int32_t>(fitness); }

template <typename Wire>
void encode_each(std::span<const double> fitness, std::span<std::byte> message) {
  for (size_t i = 0; i < fitness.size(); ++i) {
    const Wire wire = wire_of(fitness[i], Wire{});
    std::memcpy(message.data() + i * sizeof wire, &wire, sizeof wire);
  }
}

template <typename Wire>
void decode_each(std::span<const std::byte> message, std::span<double> fitness) {
  for (size_t i = 0; i < fitness.size(); ++i) {
    Wire wire;
    std::memcpy(&wire, message.data() + i * sizeof wire, sizeof wire);
    fitness[i] = wire;
  }
}

// Values as they travel, one after another.
template <typename Wire>
std::vector<int16_t> scatter_as(Collectives& group, const std::vector<size_t>& counts,
                                std::span<const int16_t> all) {
  const std::vector<Wire> sent(all.begin(), all.end());
  std::vector<Wire> mine(counts[static_cast<size_t>(group.rank())]);
  std::vector<size_t> bytes = counts;
  for (size_t& count : bytes) count *= sizeof(Wire);
  group.scatter(bytes_of(sent), bytes, bytes_of(mine));
  return {mine.begin(), mine.end()};
}

}  // namespace

size_t fitness_bytes(FitnessEncoding encoding, uint64_t pairs) {
  return encoding == FitnessEncoding::ternary ? ternary_bytes(pairs) : 2 * pairs * 4;
}

void encode_fitness(FitnessEncoding encoding, std::span<const double> fitness,
                    std::span<std::byte> message) {
  if (encoding == FitnessEncoding::int32) return encode_each<int32_t>(fitness, message);
  if (encoding == FitnessEncoding::float32) return encode_each<float>(fitness, message);
  std::vector<int8_t> sign(fitness.size() / 2);
  for (size_t j = 0; j < sign.size(); ++j)
    sign[j] = static_cast<int8_t>((fitness[2 * j] > fitness[2 * j + 1]) -
                                  (fitness[2 * j] < fitness[2 * j + 1]));
  pack_ternary(sign, message);
}

void decode_fitness(FitnessEncoding encoding, std::span<const std::byte> message,
                    std::span<double> fitness) {
  if (encoding == FitnessEncoding::int32) return decode_each<int32_t>(message, fitness);
  if (encoding == FitnessEncoding::float32) return decode_each<float>(message, fitness);
  std::vector<int8_t> sign(fitness.size() / 2);
  unpack_ternary(message, sign);
  for (size_t j = 0; j < sign.size(); ++j) {
    fitness[2 * j] = sign[j];
    fitness[2 * j + 1] = 0;
  }
}

GatheredFitness gather_fitness(Collectives& group, const RunConfig& config,
                               const RankReport& report, std::span<const double> fitness) {
  const auto pairs_of = [&](int r) { return pairs_of_rank(config.pairs(), r, group.size()); };
  std::vector<size_t> counts;
  size_t total = 0;
  for (int r = 0; r < group.size(); ++r) {
    counts.push_back(sizeof(RankReport) +
                     fitness_bytes(config.fitness_encoding, pairs_of(r).count));
    total += counts.back();
  }
  std::vector<std::byte> mine(counts[static_cast<size_t>(group.rank())]);
  std::memcpy(mine.data(), &report, sizeof report);
  encode_fitness(config.fitness_encoding, fitness, std::span(mine).subspan(sizeof report));
  std::vector<std::byte> all(group.rank() == 0 ? total : 0);
  group.gather(mine, counts, all);

  GatheredFitness gathered;
  if (group.rank() != 0) return gathered;
  gathered.fitness.resize(config.population);
  std::span<const std::byte> message = all;
  for (int r = 0; r < group.size(); ++r) {
    gathered.reports.emplace_back();
    std::memcpy(&gathered.reports.back(), message.data(), sizeof(RankReport));
    const PairRange pairs = pairs_of(r);
    const size_t size = counts[static_cast<size_t>(r)];
    decode_fitness(config.fitness_encoding,
                   message.subspan(sizeof(RankReport), size - sizeof(RankReport)),
                   std::span(gathered.fitness).subspan(2 * pairs.first, 2 * pairs.count));
    message = message.subspan(size);
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
    record.tally += report.tally;
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

size_t utility_bytes(FitnessRule rule) {
  return rule == FitnessRule::sign || rule == FitnessRule::levels ? 1 : 2;
}

std::vector<int16_t> scatter_utilities(Collectives& group, const RunConfig& config,
                                       std::span<const int16_t> all) {
  std::vector<size_t> counts;
  for (int r = 0; r < group.size(); ++r)
    counts.push_back(pairs_of_rank(config.pairs(), r, group.size()).count *
                     config.perturbations_per_pair());
  return utility_bytes(config.fitness) == 1 ? scatter_as<int8_t>(group, counts, all)
                                            : scatter_as<int16_t>(group, counts, all);
}

}  // namespace eggroll
