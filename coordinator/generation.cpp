#include "coordinator/generation.hpp"

#include <algorithm>
#include <numeric>

#include "common/stopwatch.hpp"
#include "coordinator/fitness_message.hpp"
#include "coordinator/shaping.hpp"
#include "coordinator/step_size.hpp"

namespace eggroll {

GenerationRecord run_generation(const GenerationPlan& plan, const RunConfig& config,
                                Collectives& group, Task& task, bool stop_requested) {
  GenerationRecord record;
  Stopwatch watch;
  const PairRange mine = pairs_of_rank(config.pairs(), group.rank(), group.size());

  // 1. Evaluate the members of my pairs: f_i = f(theta + sigma E_i).
  std::vector<int32_t> fitness(2 * mine.count);
  task.evaluate(plan, fitness, [&] { return group.is_broken(); });
  record.evaluate_s = watch.lap_s();

  // 2. Only scalars go up.
  const RankReport report{.evaluate_s = record.evaluate_s,
                          .bytes_sent = group.bytes_sent(),
                          .score_sum = std::accumulate(fitness.begin(), fitness.end(), int64_t{0}),
                          .stop_requested = stop_requested};
  const GatheredFitness gathered = gather_fitness(group, config, report, fitness);
  record.gather_s = watch.lap_s();

  // 3. Rank 0 shapes fitness into utility differences d_j = w_2j - w_2j+1.
  ShapedPopulation population;
  if (group.rank() == 0) {
    population = shape(gathered.difference, config.fitness);
    record.shaped = {
        .sum_squares = population.sum_squares,
        .sum_magnitudes = population.sum_magnitudes,
        .matrix_threshold = step_threshold(config, plan.generation, population.sum_squares,
                                           static_cast<uint64_t>(config.noise_rank)),
        .vector_threshold = step_threshold(config, plan.generation, population.sum_squares, 1)};
    record.ties = population.ties;
    record.active_pairs =
        config.pairs() - static_cast<uint64_t>(std::ranges::count(population.d, 0));
    summarise_reports(gathered.reports, record);
  }
  record.shape_s = watch.lap_s();

  // 4. Each rank learns the differences of its own pairs.
  group.broadcast(bytes_of(record.shaped));
  std::vector<int8_t> d(mine.count);
  scatter_differences(group, config, population.d, d);
  record.scatter_s = watch.lap_s();

  // 5. theta <- step(sum_j d_j A_j B_j^T); without a difference there is nothing to learn.
  if (record.shaped.sum_squares != 0)
    record.update =
        apply_update(task.backend(), group, plan.noise_epoch, config.noise_rank, record.shaped, d);
  return record;
}

}  // namespace eggroll
