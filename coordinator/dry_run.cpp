#include "coordinator/dry_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "common/generation_plan.hpp"
#include "common/messages/ternary.hpp"
#include "common/noise.hpp"
#include "common/parameters.hpp"
#include "common/partition.hpp"
#include "coordinator/evaluation.hpp"
#include "coordinator/records/snapshot_writer.hpp"
#include "coordinator/tiles/fitness_message.hpp"
#include "coordinator/tiles/tile_exchange.hpp"
#include "kernels/cpu/backend.hpp"

namespace eggroll {
namespace {

double mib(double bytes) { return bytes / (1 << 20); }

uint64_t noise_per_pair(const ParameterLayout& layout, int noise_rank) {
  uint64_t elements = 0;
  for (const TensorSpec& t : layout.tensors()) elements += noise_elements(t, noise_rank);
  return elements;
}

// The data: a file, or what is below a folder. Each rank holds it.
double data_bytes(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path))
    return static_cast<double>(std::filesystem::file_size(path, error));
  double bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path, error))
    if (entry.is_regular_file(error)) bytes += static_cast<double>(entry.file_size(error));
  return bytes;
}

}  // namespace

std::string dry_run_report(const RunConfig& config, int ranks, int threads,
                           const ComputeDevice& device) {
  const ParameterLayout layout = int_rnn_layout(config.shape());
  const auto parameters = static_cast<double>(layout.size());
  const auto pairs = static_cast<double>(pairs_of_rank(config.pairs(), ranks - 1, ranks).count);
  const double slot = static_cast<double>(config.layers) * config.width;
  const double states = pairs * static_cast<double>(state_slots_per_pair(config.carry)) * slot;
  // int8 parameters twice (natural and packed), Z and, with sigma-delta, accumulators as int32
  // and, where the population may need them, 64-bit sums
  const bool wide =
      config.pairs() * 2 * kNoiseMax * kNoiseMax * static_cast<uint64_t>(config.noise_rank) >> 31 !=
      0;
  const double model =
      parameters * (2 + 4 + (config.update == UpdateRule::sigma_delta ? 4 : 0) + (wide ? 8 : 0));
  // Sums on their way, if those of all buckets are at once: what leaves and what arrives of parts,
  // and then of totals.
  const bool sharded = config.step == StepMode::sharded && ranks > 1;
  const double messages =
      ranks == 1 ? 0
                 : parameters * (wide ? 8 : 4) * (2.0 * (ranks - 1) / ranks + (sharded ? 0 : 1));
  const double noise = static_cast<double>(noise_per_pair(layout, config.noise_rank));
  const auto block_pairs = static_cast<double>(cpu::choose_isa().block_pairs);
  const double workspace =
      threads * (block_pairs * noise + 2 * block_pairs * (2 * slot + 14.0 * config.width + 256) +
                 512.0 * 5 * config.width);
  const double fitness =
      pairs * (2 * 4 + 1) + static_cast<double>(config.pairs()) * (2 * 4 + 4 + 1) / ranks;
  const double data = data_bytes(config.data);
  const double all_states = static_cast<double>(config.pairs()) *
                            static_cast<double>(state_slots_per_pair(config.carry)) * slot;
  const double checkpoint = parameters * (config.update == UpdateRule::sigma_delta ? 5 : 1) +
                            std::min(all_states, static_cast<double>(kSnapshotBudgetBytes));

  const auto all_pairs = static_cast<double>(config.pairs());
  const double others = ranks - 1;
  const double fitness_up =
      (config.fitness_encoding == FitnessEncoding::ternary
           ? static_cast<double>(ternary_bytes(config.pairs()))
           : 8 * all_pairs) *
          others / ranks +
      others * sizeof(RankReport) +
      (takes_tiles(config, ranks, device.name == "cuda")
           ? static_cast<double>(tiles_of(config.pairs())) * kLetterBytesOfATile * others / ranks
           : 0);
  const double plan_down = others * (sizeof(GenerationPlan) + sizeof(ShapedSummary));
  const double differences_down = all_pairs * others / ranks;
  // Sums, which may be packed closer, twice; or once, and int8 parameters.
  const double sum_bytes = wide ? 8 : 4;
  const double model_sent = (sharded ? sum_bytes + 1 : 2 * sum_bytes) * others * parameters;

  std::string text = write_config(config);
  text += fmt::format("\n# parameters           {:.0f}\n", parameters);
  text += fmt::format("# ranks, threads each  {}, {}\n", ranks, threads);
  if (device.name == "cpu")
    text += fmt::format(
        "# memory per rank      {:.1f} MiB: model {:.1f}, messages {:.1f}, member states {:.1f}, "
        "tile "
        "workspaces {:.1f}, fitness {:.1f}, data {:.1f}\n",
        mib(model + messages + states + workspace + fitness + data), mib(model), mib(messages),
        mib(states), mib(workspace), mib(fitness), mib(data));
  else
    text += fmt::format(
        "# memory per rank      {:.1f} MiB of the host: fitness {:.1f}, data {:.1f}; with "
        "--all-reduce mpi {:.1f} MiB more for messages; that of the GPU is not foretold\n",
        mib(fitness + data), mib(fitness), mib(data),
        mib(messages + (ranks > 1 ? parameters * (sum_bytes + (sharded ? 1 : 0)) : 0)));
  text += fmt::format("# memory of rank 0     up to {:.1f} MiB more while it writes a checkpoint\n",
                      mib(checkpoint));
  text +=
      fmt::format("# noise of a pair      {:.0f} bytes, made again where it is needed\n", noise);
  text += fmt::format(
      "# sent a generation    {:.0f} bytes by all ranks at most: fitness {:.0f}, plan {:.0f}, "
      "differences "
      "{:.0f}, {} {:.0f}\n",
      fitness_up + plan_down + differences_down + model_sent, fitness_up, plan_down,
      differences_down, sharded ? "reduce-scatter and all-gather" : "all-reduce", model_sent);
  return text;
}

}  // namespace eggroll
