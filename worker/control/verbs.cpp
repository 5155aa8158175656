#include "worker/control/verbs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "common/json_text.hpp"
#include "common/output.hpp"
#include "common/stopwatch.hpp"
#include "worker/control/control_policy.hpp"
#include "worker/control/episodes.hpp"

namespace eggroll {
namespace {

using Json = nlohmann::ordered_json;

// ---- evaluate ----

struct EvaluateSettings {
  uint32_t episodes = 100;
  uint64_t seed = 1;
  bool json = false;
};

int evaluate(const EvaluateSettings& settings, Trained& trained) {
  const ControlSettings control = control_settings(trained.config);
  UnperturbedEpisodes episodes(settings.seed, 0, 1, settings.episodes);
  Stopwatch watch;
  trained.device.run([&](int) {
    const auto rollout = make_rollout(trained.config, trained.device, trained.learner,
                                      std::min<size_t>(kRolloutSlots, settings.episodes));
    rollout->begin(0, 0);
    rollout->run(episodes);
  });
  const double seconds = watch.elapsed_s();
  std::vector<UnperturbedEpisodes::Finished> finished = episodes.finished();
  std::ranges::sort(finished, {}, &UnperturbedEpisodes::Finished::number);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double sum = 0, squares = 0, least = kInfinity, most = -kInfinity;
  uint64_t steps = 0, failed = 0;
  for (const auto& [number, result] : finished) {
    steps += result.steps;
    if (result.end == EpisodeState::failed) {  // of no return
      ++failed;
      continue;
    }
    sum += result.total;
    squares += result.total * result.total;
    least = std::min(least, result.total);
    most = std::max(most, result.total);
  }
  const bool has_return = failed < settings.episodes;
  const auto count = static_cast<double>(settings.episodes - failed);
  const double mean = sum / count;
  const double error = std::sqrt(std::max(0.0, squares / count - mean * mean) / count);
  if (settings.json) {
    const auto or_null = [&](double value) { return has_return ? Json(value) : Json(nullptr); };
    print_result("{}\n", json_text(Json{{"generation", trained.generation},
                                        {"env", control.env},
                                        {"episodes", settings.episodes},
                                        {"seed", settings.seed},
                                        {"return", or_null(mean)},
                                        {"return_error", or_null(error)},
                                        {"return_least", or_null(least)},
                                        {"return_most", or_null(most)},
                                        {"steps", steps},
                                        {"episodes_failed", failed},
                                        {"evaluate_s", seconds}}));
    return 0;
  }
  print_result("policy       generation {}, {}, {} layers x {}\n", trained.generation, control.env,
               control.layers, control.width);
  print_result("episodes     {}, {} steps in {:.2f} s{}\n", settings.episodes, steps, seconds,
               failed == 0 ? "" : fmt::format(", {} failed", failed));
  if (!has_return) {
    print_result("return       none: every episode failed\n");
    return 0;
  }
  print_result("return       {:.2f} +- {:.2f} (standard error), {:.2f} to {:.2f}\n", mean, error,
               least, most);
  return 0;
}

std::function<int(Trained&)> prepare_evaluate(Options& to) {
  auto settings = std::make_shared<EvaluateSettings>();
  to.number("episodes", settings->episodes, 1, 1000000, "episodes");
  to.number("seed", settings->seed, 0, ~uint64_t{0}, "which episodes");
  to.flag("json", settings->json, "one JSON object instead of text");
  return [settings](Trained& trained) { return evaluate(*settings, trained); };
}

}  // namespace

std::vector<Verb> control_verbs() {
  return {{.name = "evaluate",
           .help = "how good the unperturbed model is",
           .takes_threads = true,
           .prepare = prepare_evaluate},
          rollout_verb()};
}

}  // namespace eggroll
