#include "worker/lm/lm_settings.hpp"

#include <limits>

#include "common/rule_names.hpp"

namespace eggroll {
namespace {

constexpr uint32_t kMaxTokensPerUpdate = 65536;
// A member's fitness is an int32 sum of scores. A score is y - log2 term, in 1/16 bit, and not
// below 1 - 16 (8 + 255 / 16) = -382: the least y, and 256 logits at their largest.
static_assert(kMaxTokensPerUpdate * int64_t{382} <= std::numeric_limits<int32_t>::max());

bool is_width(uint32_t width) {
  return width == 64 || width == 256 || width == 1024 || width == 4096;
}

}  // namespace

void LmSettings::declare(Options& to) {
  to.begin(OptionGroup::data);
  to.path("data", data, "PATH", "text: a file, or a folder of files").changeable();
  to.number("held-out", held_out, 0.0, 0.5,
            "share of the text, at its end, kept for validation and never trained");
  to.begin(OptionGroup::model);
  to.number("layers", layers, 1, 64, "layers of the network");
  to.add(
      "width", "64|256|1024|4096", "width of the network",
      "allowed are 64, 256, 1024, 4096: powers of 4, whose scale 1/(16 sqrt(width)) is exact",
      [this](std::string_view text) {
        uint32_t value = 0;
        if (!read_number(text, value) || !is_width(value)) return false;
        width = value;
        return true;
      },
      [this] { return std::to_string(width); });
  to.begin(OptionGroup::population);
  to.number("tokens-per-update", tokens_per_update, 1, kMaxTokensPerUpdate,
            "bytes a member reads in a generation");
  to.choice(
      "carry", carry,
      "what a member's state starts a generation from: its own, one shared by its pair, or zero");
  to.begin(OptionGroup::learning);
  to.number("sigma-shift", sigma_shift, 1, 8,
            "size of a perturbation, 2^-N of the scale of a weight");
  to.choice(
      "perturbation-rounding", perturbation_rounding,
      "how a perturbation falls on the grid of the weights: nearest makes the members of a pair "
      "exact opposites, floor is the reference program's way");
  to.begin(OptionGroup::records);
  to.number("validate-streams", validate_streams, 1, uint64_t{std::numeric_limits<uint32_t>::max()},
            "parts of the held-out text that are read side by side");
}

LmSettings lm_settings(const RunConfig& config) {
  return read_settings<LmSettings>(config.of_task);
}

IntRnnSettings int_rnn_settings(const RunConfig& config) {
  const LmSettings settings = lm_settings(config);
  return {.shape = settings.shape(),
          .seed = config.seed,
          .noise_rank = config.noise_rank,
          .sigma_shift = settings.sigma_shift,
          .rounding = settings.perturbation_rounding,
          .carry = settings.carry};
}

void check_lm(const RunConfig& config) {
  const LmSettings settings = lm_settings(config);
  if (settings.data.empty() && config.resume.empty())
    throw OptionError("data", "", "needed is a file or a folder of text, as in --data corpus.txt");
  if (config.noise_rank != 1 && config.noise_rank != 4 && config.noise_rank != 16)
    throw OptionError("noise-rank", std::to_string(config.noise_rank),
                      "allowed are 1, 4, 16: powers of 4, whose scale 1/sqrt(rank) is exact");
  if (config.sampling != Sampling::antithetic)
    throw OptionError("sampling", std::string(name_in_options(config.sampling)),
                      "allowed with task = lm is antithetic");
  if (config.fitness_encoding == FitnessEncoding::float32)
    throw OptionError("fitness-encoding", "float32",
                      "the fitness of task lm is an integer; allowed are int32, and ternary with "
                      "fitness = sign");
  if (config.schedule == TileSchedule::dynamic && settings.carry != Carry::reset)
    throw OptionError(
        "schedule", "dynamic",
        "dynamic is allowed with carry = reset only: states that members carry stay with "
        "the rank that holds them");
}

}  // namespace eggroll
