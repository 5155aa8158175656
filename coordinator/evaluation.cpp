#include "coordinator/evaluation.hpp"

#include <utility>

#include "common/stopwatch.hpp"
#include "coordinator/tiles/fitness_message.hpp"
#include "coordinator/tiles/own_pairs.hpp"
#include "coordinator/tiles/tile_exchange.hpp"

namespace eggroll {
namespace {

std::vector<double> evaluate_own_pairs(const GenerationPlan& plan, const RunConfig& config,
                                       Collectives& group, Task& task, RankReport report,
                                       GenerationRecord& record) {
  Stopwatch watch;
  const PairRange mine = pairs_of_rank(config.pairs(), group.rank(), group.size());
  OwnPairs source(mine, [&] { return group.is_broken(); });
  task.evaluate(plan, source);
  report.evaluate_s = record.evaluate_s = watch.lap_s();
  if (mine.count > 0) report.tile_s = report.evaluate_s / static_cast<double>(tiles_of(mine.count));
  report.tally = source.tally();
  record.sums = source.sums();
  report.bytes_sent = group.bytes_sent();

  GatheredFitness gathered = gather_fitness(group, config, report, source.fitness());
  record.gather_s = watch.lap_s();
  summarise_reports(gathered.reports, config.straggler_limit, record);
  return std::move(gathered.fitness);
}

std::vector<double> evaluate_taken_tiles(const GenerationPlan& plan, const RunConfig& config,
                                         Collectives& group, Task& task, RankReport report,
                                         GenerationRecord& record) {
  Stopwatch watch;
  ExchangedTiles tiles = exchange_tiles(plan, config, group, task);
  report.evaluate_s = record.evaluate_s = watch.lap_s();
  report.tile_s = tiles.tile_s;
  report.tally = tiles.tally;
  record.sums = std::move(tiles.sums);
  report.posted = tiles.posted;
  report.bytes_sent = group.bytes_sent();

  const std::vector<RankReport> reports = gather_reports(group, report);
  summarise_reports(reports, config.straggler_limit, record);
  if (group.rank() == 0) {
    std::vector<uint64_t> posted;
    for (const RankReport& each : reports) posted.push_back(each.posted);
    posted.front() = 0;
    collect_rest(group, posted, tiles.collected);
  }
  record.gather_s = watch.lap_s();
  record.tiles_given_again = tiles.given_again;
  return std::move(tiles.fitness);
}

}  // namespace

bool takes_tiles(const RunConfig& config, int ranks, bool carries_states, bool works_in_bulk) {
  return ranks > 1 && !carries_states &&
         (config.schedule == TileSchedule::dynamic ||
          (config.schedule == TileSchedule::automatic && !works_in_bulk));
}

std::vector<double> evaluate_population(const GenerationPlan& plan, const RunConfig& config,
                                        Collectives& group, Task& task, bool works_in_bulk,
                                        bool stop_requested, GenerationRecord& record) {
  const RankReport report{.stop_requested = stop_requested};
  return takes_tiles(config, group.size(), carries_states(task), works_in_bulk)
             ? evaluate_taken_tiles(plan, config, group, task, report, record)
             : evaluate_own_pairs(plan, config, group, task, report, record);
}

}  // namespace eggroll
