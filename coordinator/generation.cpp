#include "coordinator/generation.hpp"

#include "common/partition.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/evaluation.hpp"
#include "coordinator/shaping.hpp"
#include "coordinator/tiles/fitness_message.hpp"
#include "kernels/optimizers.hpp"

namespace eggroll {

GenerationRecord run_generation(const GenerationPlan& plan, const RunConfig& config,
                                const Reduction& reduction, Task& task, Learner& learner,
                                bool works_in_bulk, bool stop_requested) {
  Collectives& group = reduction.group;
  const OptimizerType& optimizer = optimizer_type(config.update);
  GenerationRecord record;
  // 1. Evaluate the members: f_i = f(theta + sigma E_i). Only scalars go up.
  const std::vector<double> fitness =
      evaluate_population(plan, config, group, task, works_in_bulk, stop_requested, record);

  // 2. Rank 0 shapes fitness into utilities, and their differences into integers d_j.
  Stopwatch watch;
  ShapedPopulation population;
  if (group.rank() == 0) {
    population = shape(fitness, {config.fitness, config.sampling, config.group_size});
    record.shaped = {.sum_squares = population.sum_squares,
                     .sum_magnitudes = population.sum_magnitudes,
                     .unit = population.unit,
                     .numbers = optimizer.numbers(
                         config.of_update, step_context(config, plan.generation,
                                                        population.sum_squares, population.unit))};
    record.fitness = population.fitness;
    record.ties = population.ties;
    record.active_pairs = population.active;
  }
  record.shape_s = watch.lap_s();

  // 3. Each rank learns the d of its own pairs.
  group.broadcast(bytes_of(record.shaped));
  const std::vector<int16_t> d = scatter_utilities(group, config, population.d);
  const uint64_t first = pairs_of_rank(config.pairs(), group.rank(), group.size()).first *
                         config.perturbations_per_pair();
  record.scatter_s = watch.lap_s();

  // 4. theta <- step(sum_j d_j A_j B_j^T). Without a difference there is nothing to learn, but some
  // optimisers move on.
  if (record.shaped.sum_squares != 0 || optimizer.steps_without_update)
    record.update = apply_update(learner, reduction, config.noise_rank, record.shaped,
                                 {plan.noise_epoch, first, d});

  // 5. What the members went through moves the running sums, exactly and once.
  if (const std::optional<size_t> tensor = task.running_sums()) {
    record.sums.resize(learner.layout()[*tensor].size());
    Collectives::wait(*group.start_all_reduce_sum(std::span<int64_t>(record.sums)));
    learner.add_to(*tensor, record.sums);
  }
  return record;
}

}  // namespace eggroll
