#include "worker/control/control_task.hpp"

#include <algorithm>
#include <cmath>

#include "worker/control/control_policy.hpp"
#include "worker/control/environment_types.hpp"
#include "worker/control/episodes.hpp"
#include "worker/control/verbs.hpp"

namespace eggroll {
namespace {

// Counts of a validation: integers, so shares of ranks add up exactly.
enum ValidationCount : size_t { kReturns, kSquares, kValidated, kValidationSteps, kWithoutReturn };
constexpr int kReturnBits = 20, kSquareBits = 10;

// A hundred thousand of them fit 64 bits.
int64_t in_units(double value, int bits) {
  const double most = std::ldexp(1.0, 46 - bits);
  return std::llround(std::ldexp(std::clamp(value, -most, most), bits));
}

class ControlTask final : public Task {
 public:
  ControlTask(const RunConfig& config, Device& device, const Learner& learner)
      : settings_(control_settings(config)),
        seed_(config.seed),
        sampling_(config.sampling),
        generations_(config.generations),
        population_(config.population),
        device_(device),
        arithmetic_(environment_arithmetic(environment_type(settings_.env), settings_.of_env)) {
    for (int thread = 0; thread < device.threads(); ++thread)
      rollouts_.push_back(make_rollout(config, device, learner, kRolloutSlots));
  }

  std::string arithmetic() const override { return arithmetic_; }

  double sigma(uint64_t generation) const override {
    return settings_.sigma.at(generation, generations_);
  }

  std::optional<size_t> running_sums() const override {
    return policy_tensors(settings_).statistics;
  }

  void evaluate(const GenerationPlan& plan, PairSource& source) override {
    const MemberEpisodesSettings settings{
        .seed = seed_,
        .episodes = settings_.episodes,
        .seeds = settings_.episode_seeds,
        .sampling = sampling_,
        .statistics_of = running_sums() ? rollouts_.front()->spec().observations : 0};
    device_.run([&](int thread) {
      try {
        Rollout& rollout = *rollouts_[static_cast<size_t>(thread)];
        rollout.begin(plan.noise_epoch, static_cast<float>(plan.sigma));
        MemberEpisodes episodes(settings, plan.generation, source);
        rollout.run(episodes);
      } catch (...) {
        source.close();
        throw;
      }
    });
  }

  Tally validate(int rank, int ranks) override {
    UnperturbedEpisodes episodes(seed_, static_cast<uint32_t>(rank), static_cast<uint32_t>(ranks),
                                 settings_.validate_episodes);
    device_.run([&](int thread) {
      Rollout& rollout = *rollouts_[static_cast<size_t>(thread)];
      rollout.begin(0, 0);
      rollout.run(episodes);
    });
    Tally tally;
    for (const auto& [number, result] : episodes.finished()) {
      if (result.end == EpisodeState::failed) {
        tally[kWithoutReturn] += 1;
        continue;
      }
      tally[kReturns] += in_units(result.total, kReturnBits);
      tally[kSquares] += in_units(result.total * result.total, kSquareBits);
      tally[kValidated] += 1;
      tally[kValidationSteps] += result.steps;
    }
    return tally;
  }

  std::vector<Metric> train_metrics(const Tally& tally,
                                    const FitnessSummary& fitness) const override {
    const auto episodes = static_cast<double>(std::max<int64_t>(1, tally[kEpisodes]));
    std::vector<Metric> metrics;
    if (fitness.not_finite < population_)  // of none there is no mean
      metrics = {{.name = "fitness_mean", .value = fitness.mean, .label = "members"},
                 {.name = "fitness_best", .value = fitness.best, .label = "best"}};
    metrics.insert(
        metrics.end(),
        {{.name = "steps", .value = static_cast<double>(tally[kSteps])},
         {.name = "episode_steps", .value = static_cast<double>(tally[kSteps]) / episodes},
         {.name = "episodes_terminated", .value = static_cast<double>(tally[kTerminated])},
         {.name = "episodes_failed",
          .value = static_cast<double>(tally[kFailed]),
          .label = tally[kFailed] > 0 ? "failed" : ""}});
    return metrics;
  }
  std::optional<Work> work(const Tally& tally) const override {
    return Work{.unit = "steps", .amount = static_cast<double>(tally[kSteps])};
  }

  std::vector<Metric> validation_metrics(const Tally& tally) const override {
    const auto failed = static_cast<double>(tally[kWithoutReturn]);
    const auto count = static_cast<double>(tally[kValidated]);
    const Metric failures = {.name = "return_episodes_failed",
                             .value = failed,
                             .label = failed > 0 ? "return failed" : ""};
    if (count == 0) return failed > 0 ? std::vector{failures} : std::vector<Metric>{};
    const double mean = std::ldexp(static_cast<double>(tally[kReturns]) / count, -kReturnBits);
    const double squares = std::ldexp(static_cast<double>(tally[kSquares]) / count, -kSquareBits);
    const double error = std::sqrt(std::max(0.0, squares - mean * mean) / count);
    return {{.name = "return", .value = mean, .label = "return"},
            {.name = "return_error", .value = error, .note = "standard error"},
            {.name = "return_episodes", .value = count},
            {.name = "return_episode_steps",
             .value = static_cast<double>(tally[kValidationSteps]) / count},
            failures};
  }

 private:
  const ControlSettings settings_;
  const uint64_t seed_;
  const Sampling sampling_;
  const uint64_t generations_;  // planned
  const uint64_t population_;
  Device& device_;
  const std::string arithmetic_;
  std::vector<std::unique_ptr<Rollout>> rollouts_;  // [threads]
};

void check_control(const RunConfig& config) {
  check_float_run(config);
  const ControlSettings settings = control_settings(config);
  check_settings(environment_type(settings.env), settings.of_env);
  environment_spec(settings);
}

}  // namespace

TaskType control_task_type() {
  return {
      .name = "control",
      .help = "a policy that acts in an environment: cart-pole, walkers, landers",
      .defaults = {{"population", "512"},
                   {"generations", "30"},
                   {"fitness", "centred-rank"},
                   {"fitness-encoding", "float32"},
                   {"update", "adam"},
                   {"learning-rate", "0.02"},
                   {"sigma", "0.05"}},
      .declare = [](Options& to) -> std::shared_ptr<void> {
        auto settings = std::make_shared<ControlSettings>();
        settings->declare(to);
        return settings;
      },
      .check = check_control,
      .layout = control_layout,
      .start_values =
          [](const RunConfig& config, const ParameterLayout& layout, std::span<std::byte> arena) {
            const ControlSettings settings = control_settings(config);
            start_mlp(layout, policy_shape(settings, environment_spec(settings)),
                      policy_tensors(settings).policy, config.seed, arena);
          },
      .check_data = [](const RunConfig&) { return std::vector<std::string>(); },
      .make = [](const RunConfig& config, Device& device,
                 const Learner& learner) -> std::unique_ptr<Task> {
        return std::make_unique<ControlTask>(config, device, learner);
      },
      .carry = [](const RunConfig&) { return Carry::reset; },
      .runs_on_cuda = false,
      .memory = [](const RunConfig& config, uint64_t, int threads) -> TaskMemory {
        const ParameterLayout layout = control_layout(config);
        const ControlSettings settings = control_settings(config);
        double noise = 0;  // of the pairs of a thread's slots
        for (const TensorSpec& tensor : layout.tensors())
          noise += static_cast<double>(kRolloutSlots * noise_elements(tensor, config.noise_rank));
        const double rows = 4.0 * kRolloutSlots * 3 * settings.width;
        const auto simulated = static_cast<double>(
            kRolloutSlots * environment_type(settings.env).make(settings.of_env, 1)->bytes());
        return {.weights = static_cast<double>(layout.bytes()) * threads,
                .workspaces = (noise + rows + simulated) * threads};
      },
      .verbs = control_verbs()};
}

}  // namespace eggroll
