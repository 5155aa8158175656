#include "coordinator/generation.hpp"

#include <algorithm>

#include "common/partition.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/evaluation.hpp"
#include "coordinator/shaping.hpp"
#include "coordinator/step_size.hpp"
#include "coordinator/tiles/fitness_message.hpp"

namespace eggroll {

GenerationRecord run_generation(const GenerationPlan& plan, const RunConfig& config,
                                const Meeting& meeting, Task& task, bool stop_requested) {
  Collectives& group = meeting.group;
  GenerationRecord record;
  // 1. Evaluate the members: f_i = f(theta + sigma E_i). Only scalars go up.
  const std::vector<int32_t> difference =
      evaluate_population(plan, config, group, task, stop_requested, record);

  // 2. Rank 0 shapes fitness into utility differences d_j = w_2j - w_2j+1.
  Stopwatch watch;
  ShapedPopulation population;
  if (group.rank() == 0) {
    population = shape(difference, config.fitness);
    record.shaped = {
        .sum_squares = population.sum_squares,
        .sum_magnitudes = population.sum_magnitudes,
        .matrix_threshold = step_threshold(config, plan.generation, population.sum_squares,
                                           static_cast<uint64_t>(config.noise_rank)),
        .vector_threshold = step_threshold(config, plan.generation, population.sum_squares, 1)};
    record.ties = population.ties;
    record.active_pairs =
        config.pairs() - static_cast<uint64_t>(std::ranges::count(population.d, 0));
  }
  record.shape_s = watch.lap_s();

  // 3. Each rank learns the differences of its own pairs.
  group.broadcast(bytes_of(record.shaped));
  std::vector<int8_t> d(pairs_of_rank(config.pairs(), group.rank(), group.size()).count);
  scatter_differences(group, config, population.d, d);
  record.scatter_s = watch.lap_s();

  // 4. theta <- step(sum_j d_j A_j B_j^T); without a difference there is nothing to learn.
  if (record.shaped.sum_squares != 0)
    record.update = apply_update(task.backend(), meeting, plan.noise_epoch, config.noise_rank,
                                 record.shaped, d);
  return record;
}

}  // namespace eggroll
