#include "worker/lm/lm_task_type.hpp"

#include <algorithm>
#include <filesystem>

#include "kernels/cpu/isa.hpp"
#include "worker/lm/corpus.hpp"
#include "worker/lm/lm_settings.hpp"
#include "worker/lm/lm_task.hpp"

namespace eggroll {
namespace {

// Each rank holds it.
double text_bytes(const std::filesystem::path& path) {
  double bytes = 0;
  std::error_code error;
  for (const std::filesystem::path& file : data_files(path).files)
    if (const uintmax_t size = std::filesystem::file_size(file, error); !error)
      bytes += static_cast<double>(size);
  return bytes;
}

TaskMemory memory_of(const RunConfig& config, uint64_t pairs, int threads) {
  const LmSettings settings = lm_settings(config);
  const ParameterLayout layout = int_rnn_layout(settings.shape());
  const double slot = static_cast<double>(settings.layers) * settings.width;
  double noise = 0;
  for (const TensorSpec& tensor : layout.tensors())
    noise += static_cast<double>(noise_elements(tensor, config.noise_rank));
  const auto block_pairs = static_cast<double>(cpu::choose_isa().block_pairs);
  return {.weights = static_cast<double>(layout.bytes()),  // once more, packed
          .states = static_cast<double>(pairs * state_slots_per_pair(settings.carry)) * slot,
          .workspaces = threads * (block_pairs * noise +
                                   2 * block_pairs * (2 * slot + 14.0 * settings.width + 256) +
                                   512.0 * 5 * settings.width),
          .data = text_bytes(settings.data)};
}

}  // namespace

TaskType lm_task_type() {
  return {
      .name = "lm",
      .help = "an int8 language model of bytes (EGG)",
      .defaults = {},  // those of RunConfig are its own
      .declare = [](Options& to) -> std::shared_ptr<void> {
        auto settings = std::make_shared<LmSettings>();
        settings->declare(to);
        return settings;
      },
      .check = check_lm,
      .layout = [](const RunConfig& config) { return int_rnn_layout(lm_settings(config).shape()); },
      .start_values =
          [](const RunConfig& config, const ParameterLayout&, std::span<std::byte> arena) {
            const std::vector<int8_t> values =
                int_rnn_initial_parameters(lm_settings(config).shape(), config.seed);
            require(arena.size() == values.size(), "an arena of the layout");
            std::ranges::copy(std::as_bytes(std::span(values)), arena.begin());
          },
      .check_data = check_lm_data,
      .make = [](const RunConfig& config, Device& device, const Learner& learner)
          -> std::unique_ptr<Task> { return std::make_unique<LmTask>(config, device, learner); },
      .carry = [](const RunConfig& config) { return lm_settings(config).carry; },
      .runs_on_cuda = true,
      .memory = memory_of,
      .verbs = lm_verbs()};
}

}  // namespace eggroll
