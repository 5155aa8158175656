#include "coordinator/evaluation.hpp"

#include <numeric>
#include <utility>

#include "common/stopwatch.hpp"
#include "coordinator/tiles/fitness_message.hpp"
#include "coordinator/tiles/tile_exchange.hpp"

namespace eggroll {
namespace {

std::vector<int32_t> evaluate_own_pairs(const GenerationPlan& plan, const RunConfig& config,
                                        Collectives& group, Task& task, RankReport report,
                                        GenerationRecord& record) {
  Stopwatch watch;
  const PairRange mine = pairs_of_rank(config.pairs(), group.rank(), group.size());
  std::vector<int32_t> fitness(2 * mine.count);
  task.evaluate(plan, fitness, [&] { return group.is_broken(); });
  report.evaluate_s = record.evaluate_s = watch.lap_s();
  if (mine.count > 0) report.tile_s = report.evaluate_s / static_cast<double>(tiles_of(mine.count));
  report.score_sum = std::accumulate(fitness.begin(), fitness.end(), int64_t{0});
  report.bytes_sent = group.bytes_sent();

  GatheredFitness gathered = gather_fitness(group, config, report, fitness);
  record.gather_s = watch.lap_s();
  summarise_reports(gathered.reports, config.straggler_limit, record);
  return std::move(gathered.difference);
}

std::vector<int32_t> evaluate_taken_tiles(const GenerationPlan& plan, const RunConfig& config,
                                          Collectives& group, Task& task, RankReport report,
                                          GenerationRecord& record) {
  Stopwatch watch;
  ExchangedTiles tiles = exchange_tiles(plan, config, group, task);
  report.evaluate_s = record.evaluate_s = watch.lap_s();
  report.tile_s = tiles.tile_s;
  report.score_sum = tiles.score_sum;
  report.letters = tiles.letters;
  report.bytes_sent = group.bytes_sent();

  const std::vector<RankReport> reports = gather_reports(group, report);
  summarise_reports(reports, config.straggler_limit, record);
  if (group.rank() == 0) {
    std::vector<uint64_t> letters;
    for (const RankReport& each : reports) letters.push_back(each.letters);
    letters.front() = 0;
    collect_rest(group, letters, tiles.collected);
  }
  record.gather_s = watch.lap_s();
  record.tiles_given_again = tiles.given_again;
  return std::move(tiles.difference);
}

}  // namespace

bool takes_tiles(const RunConfig& config, int ranks, bool works_in_bulk) {
  return ranks > 1 && config.carry == Carry::reset &&
         (config.schedule == TileSchedule::dynamic ||
          (config.schedule == TileSchedule::automatic && !works_in_bulk));
}

std::vector<int32_t> evaluate_population(const GenerationPlan& plan, const RunConfig& config,
                                         Collectives& group, Task& task, bool stop_requested,
                                         GenerationRecord& record) {
  const RankReport report{.stop_requested = stop_requested};
  return takes_tiles(config, group.size(), task.backend().works_in_bulk())
             ? evaluate_taken_tiles(plan, config, group, task, report, record)
             : evaluate_own_pairs(plan, config, group, task, report, record);
}

}  // namespace eggroll
