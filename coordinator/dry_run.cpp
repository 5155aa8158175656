#include "coordinator/dry_run.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/generation_plan.hpp"
#include "common/layout.hpp"
#include "common/messages/ternary.hpp"
#include "common/noise.hpp"
#include "common/partition.hpp"
#include "coordinator/evaluation.hpp"
#include "coordinator/records/snapshot_writer.hpp"
#include "coordinator/tiles/fitness_message.hpp"
#include "coordinator/tiles/tile_exchange.hpp"
#include "kernels/optimizers.hpp"
#include "worker/tasks.hpp"

namespace eggroll {
namespace {

double mib(double bytes) { return bytes / (1 << 20); }

// Whether sums over the population may need 64 bits.
bool may_be_wide(const RunConfig& config) {
  const double largest = static_cast<double>(config.pairs() * config.perturbations_per_pair()) *
                         largest_utility(config.fitness) * kNoiseMax * kNoiseMax *
                         config.noise_rank;
  return largest >= 0x1p31;
}

}  // namespace

std::string dry_run_report(const RunConfig& config, int ranks, int threads,
                           const ComputeDevice& device) {
  const TaskType& task = task_type(config.task);
  const OptimizerType& optimizer = optimizer_type(config.update);
  const ParameterLayout layout = task.layout(config);
  const bool carries_states = task.carry(config) != Carry::reset;
  const auto trained = static_cast<double>(layout.trained());
  double slots = 0;
  for (const Slot& slot : optimizer.slots)
    slots += trained * static_cast<double>(bytes_of(slot.element));
  const uint64_t pairs_here = pairs_of_rank(config.pairs(), ranks - 1, ranks).count;
  const auto pairs = static_cast<double>(pairs_here);
  const TaskMemory memory = task.memory(config, pairs_here, threads);
  // Parameters as they are and as the task orders them, Z as int32, slots, and, where the
  // population may need them, 64-bit sums.
  const bool wide = may_be_wide(config);
  const double model =
      static_cast<double>(layout.bytes()) + memory.weights + trained * (4 + (wide ? 8 : 0)) + slots;
  // Sums on their way, if those of all buckets are at once: what leaves and what arrives of parts,
  // and then of totals.
  const bool sharded = config.step == StepMode::sharded && ranks > 1;
  const double messages =
      ranks == 1 ? 0 : trained * (wide ? 8 : 4) * (2.0 * (ranks - 1) / ranks + (sharded ? 0 : 1));
  double noise = 0;
  for (const TensorSpec& tensor : layout.tensors())
    noise += static_cast<double>(noise_elements(tensor, config.noise_rank) *
                                 config.perturbations_per_pair());
  // Two numbers a pair as they are computed and as they travel, and d; of all pairs on rank 0, where
  // ranks are found in as much again.
  const double fitness = pairs * (2 * 8 + 2 * 4 + 3);
  const double all_fitness = static_cast<double>(config.pairs()) * (2 * 8 + 2 * 4 + 3 + 2 * 24);
  const double all_states = task.memory(config, config.pairs(), threads).states;
  const double checkpoint = static_cast<double>(layout.bytes()) + slots +
                            std::min(all_states, static_cast<double>(kSnapshotBudgetBytes));

  const auto all_pairs = static_cast<double>(config.pairs());
  const double others = ranks - 1;
  const double fitness_up =
      (config.fitness_encoding == FitnessEncoding::ternary
           ? static_cast<double>(ternary_bytes(config.pairs()))
           : 8 * all_pairs) *
          others / ranks +
      others * sizeof(RankReport) +
      (takes_tiles(config, ranks, carries_states, device.name == "cuda")
           ? static_cast<double>(tiles_of(config.pairs())) * kMailBytesOfATile * others / ranks
           : 0);
  // Of running sums, which tiles bring and all come to know.
  double sums = 0;
  for (const TensorSpec& tensor : layout.tensors())
    if (tensor.element == Element::int64) sums += static_cast<double>(tensor.bytes());
  const double sums_sent = sums * others *
                           (2 + (takes_tiles(config, ranks, carries_states, device.name == "cuda")
                                     ? static_cast<double>(tiles_of(config.pairs())) / ranks
                                     : 0));
  const double plan_down = others * (sizeof(GenerationPlan) + sizeof(ShapedSummary));
  const double differences_down =
      all_pairs *
      static_cast<double>(config.perturbations_per_pair() * utility_bytes(config.fitness)) *
      others / ranks;
  // Sums, which may be packed closer, twice; or once, and parameters.
  const double sum_bytes = wide ? 8 : 4;
  const double parameter_bytes =
      static_cast<double>(layout.bytes()) / static_cast<double>(layout.size());
  const double model_sent =
      (sharded ? sum_bytes + parameter_bytes : 2 * sum_bytes) * others * trained;

  std::string text = write_config(config, option_catalogue());
  text += fmt::format("\n# parameters           {}\n", layout.size());
  text += fmt::format("# ranks, threads each  {}, {}\n", ranks, threads);
  if (device.name == "cpu")
    text += fmt::format(
        "# memory per rank      {:.1f} MiB: model {:.1f}, messages {:.1f}, member states {:.1f}, "
        "tile workspaces {:.1f}, fitness {:.1f}, data {:.1f}\n",
        mib(model + messages + memory.states + memory.workspaces + fitness + memory.data),
        mib(model), mib(messages), mib(memory.states), mib(memory.workspaces), mib(fitness),
        mib(memory.data));
  else
    text += fmt::format(
        "# memory per rank      {:.1f} MiB of the host: fitness {:.1f}, data {:.1f}; with "
        "--all-reduce mpi {:.1f} MiB more for messages; that of the GPU is not foretold\n",
        mib(fitness + memory.data), mib(fitness), mib(memory.data),
        mib(messages + (ranks > 1 ? trained * (sum_bytes + (sharded ? parameter_bytes : 0)) : 0)));
  text += fmt::format(
      "# memory of rank 0     up to {:.1f} MiB more for the fitness of all, and {:.1f} MiB while "
      "it "
      "writes a checkpoint\n",
      mib(all_fitness), mib(checkpoint));
  text +=
      fmt::format("# noise of a pair      {:.0f} bytes, made again where it is needed\n", noise);
  text += fmt::format(
      "# sent a generation    {:.0f} bytes by all ranks at most: fitness {:.0f}, plan {:.0f}, "
      "differences {:.0f}, {} {:.0f}\n",
      fitness_up + sums_sent + plan_down + differences_down + model_sent, fitness_up + sums_sent,
      plan_down, differences_down, sharded ? "reduce-scatter and all-gather" : "all-reduce",
      model_sent);
  return text;
}

}  // namespace eggroll
