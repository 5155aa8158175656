// `eggroll rollout`: one episode, step by step, as records and as pictures.
#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <system_error>

#include "common/check.hpp"
#include "common/json_text.hpp"
#include "common/options.hpp"
#include "common/output.hpp"
#include "common/text_encoding.hpp"
#include "worker/control/animation.hpp"
#include "worker/control/control_policy.hpp"
#include "worker/control/environment_types.hpp"
#include "worker/control/episodes.hpp"
#include "worker/control/verbs.hpp"

namespace eggroll {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kPictureWidth = 600, kPictureHeight = 400;
constexpr uint32_t kNoLimit = std::numeric_limits<uint32_t>::max();  // of steps

struct RolloutSettings {
  uint64_t seed = 1;
  uint32_t episode = 0;
  uint32_t steps = kNoLimit;  // at most
  std::string actions;
  std::string render;
  uint32_t frames_per_second = 30;
};

// An action of the file from a line of it: a number, an array, or a record that this program wrote;
// none where the record has no action.
std::optional<std::vector<float>> action_of(const std::string& line) {
  const Json value = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  const Json* action = &value;
  if (value.is_object()) {
    if (!value.contains("action")) return std::nullopt;
    action = &value["action"];
  }
  std::vector<float> numbers;
  if (action->is_number()) numbers.push_back(action->get<float>());
  if (action->is_array())
    for (const Json& each : *action) {
      if (!each.is_number()) return std::vector<float>{};
      numbers.push_back(each.get<float>());
    }
  return numbers;
}

std::string allowed_actions(const EnvironmentSpec& spec) {
  if (spec.choices > 0)
    return fmt::format("allowed is a whole number from 0 to {}", spec.choices - 1);
  if (spec.actions() == 1) return "allowed is a finite number";
  return fmt::format("allowed are {} finite numbers", spec.actions());
}

bool is_action(std::span<const float> numbers, const EnvironmentSpec& spec) {
  if (numbers.size() != spec.actions()) return false;
  for (const float number : numbers)
    if (!std::isfinite(number)) return false;
  const float first = numbers.front();
  return spec.choices == 0 ||
         (first >= 0 && first < static_cast<float>(spec.choices) && first == std::floor(first));
}

std::vector<std::vector<float>> read_actions(const std::string& path, const EnvironmentSpec& spec) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    throw ConfigError(fmt::format("actions = {}: is a folder, needed is a file", shown(path)));
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw ConfigError(
        fmt::format("actions = {}: cannot be read: {}", shown(path), std::strerror(errno)));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (const auto encoding = foreign_encoding(text); !encoding.empty())
    throw ConfigError(
        fmt::format("actions = {}: is {} text; allowed is UTF-8", shown(path), encoding));
  std::istringstream lines(text.substr(utf8_mark_bytes(text)));
  std::vector<std::vector<float>> actions;
  int line_number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto action = action_of(line);
    if (!action) continue;
    if (!is_action(*action, spec))
      throw ConfigError(fmt::format("actions = {}: line {} is no action of {}; {}", shown(path),
                                    line_number, spec.name, allowed_actions(spec)));
    actions.push_back(*action);
  }
  return actions;
}

// Prints and draws what it sees of an episode.
class Recorder {
 public:
  Recorder(const RolloutSettings& settings, const EnvironmentSpec& spec) : spec_(spec) {
    if (settings.render.empty()) return;
    try {
      animation_.emplace(settings.render, kPictureWidth, kPictureHeight,
                         settings.frames_per_second);
    } catch (const ConfigError& error) {
      throw ConfigError(fmt::format("render = {}", error.what()));
    }
  }

  void begin(const Trained& trained, uint64_t seed) {
    print_result("{}\n", json_text(Json{{"env", spec_.name},
                                        {"generation", trained.generation},
                                        {"episode_seed", seed}}));
  }
  void see(const StepSeen& seen) {
    Json record = {{"step", step_++}};
    const bool is_step = !seen.action.empty();
    if (is_step && spec_.choices > 0)
      record["action"] = static_cast<int>(seen.action[0]);
    else if (is_step)
      record["action"] = seen.action;
    if (!seen.observation.empty()) record["observation"] = seen.observation;
    if (is_step) {
      record["reward"] = seen.reward;
      record["terminated"] = seen.state == EpisodeState::terminated;
      record["truncated"] = seen.state == EpisodeState::truncated;
    }
    if (seen.state == EpisodeState::failed) record["failed"] = true;
    print_result("{}\n", json_text(record));
    if (!animation_) return;
    Drawing drawing;
    seen.environments.draw(seen.slot, drawing);
    animation_->add(picture_of(drawing, kPictureWidth, kPictureHeight));
  }
  void end() {
    if (animation_) animation_->finish();
  }

 private:
  const EnvironmentSpec& spec_;
  std::optional<Animation> animation_;
  uint64_t step_ = 0;
};

// The given actions, whatever the policy would do. see: StepSeen of each. Whether they reach to the
// end of the episode, or as far as is wanted.
template <typename See>
bool replay(const std::vector<std::vector<float>>& actions, const ControlSettings& control,
            const Episode& episode, uint32_t most_steps, const See& see) {
  const auto environments = environment_type(control.env).make(control.of_env, 1);
  const EnvironmentSpec& spec = environments->spec();
  std::vector<float> observation(spec.observations);
  Command command = Command::reset;
  Step step;
  std::vector<float> action;  // none yet
  double total = 0;
  for (uint32_t steps = 0;; ++steps) {
    environments->run({{&command, 1}, {&episode.seed, 1}, action, observation, {&step, 1}});
    total += step.reward;
    const EpisodeState state = state_after(step, total, steps, spec);
    see(StepSeen{.observation = observation,
                 .action = action,
                 .reward = step.reward,
                 .state = state,
                 .environments = *environments});
    if (state != EpisodeState::goes_on || steps == most_steps) return true;
    if (steps == actions.size()) return false;
    command = Command::step;
    action = actions[steps];
  }
}

// An episode of the policy, given up after so many steps.
class FirstSteps final : public EpisodeSource {
 public:
  FirstSteps(EpisodeSource& of, uint32_t most_steps) : of_(of), left_(most_steps) {}

  std::optional<Episode> next(bool may_wait) override { return of_.next(may_wait); }
  void finish(const Episode& episode, const EpisodeResult& result) override {
    of_.finish(episode, result);
  }
  bool is_over() const override { return left_ == 0; }
  void count(const StepSeen& seen) { left_ -= seen.action.empty() ? 0 : 1; }

 private:
  EpisodeSource& of_;
  uint32_t left_;
};

int rollout(const RolloutSettings& settings, Trained& trained) {
  const ControlSettings control = control_settings(trained.config);
  const EnvironmentSpec spec = environment_spec(control);
  UnperturbedEpisodes episodes(settings.seed, settings.episode, 1, settings.episode + 1);
  std::vector<std::vector<float>> actions;
  std::optional<Episode> given;
  if (!settings.actions.empty()) {  // played once unseen: what does not suffice writes nothing
    actions = read_actions(settings.actions, spec);
    given = episodes.next(false);
    if (!replay(actions, control, *given, settings.steps, [](const StepSeen&) {}))
      throw ConfigError(fmt::format("actions = {}: ends after {} action{}, and the episode goes on",
                                    shown(settings.actions), actions.size(),
                                    actions.size() == 1 ? "" : "s"));
  }
  Recorder recorder(settings, spec);
  recorder.begin(trained,
                 episode_seed(settings.seed, 0, SeedKind::validation, 0, settings.episode));
  if (given) {
    replay(actions, control, *given, settings.steps,
           [&](const StepSeen& seen) { recorder.see(seen); });
  } else {
    FirstSteps first(episodes, settings.steps);
    const auto rollout = make_rollout(trained.config, trained.device, trained.learner, 1);
    rollout->watch([&](const StepSeen& seen) {
      first.count(seen);
      recorder.see(seen);
    });
    rollout->begin(0, 0);
    rollout->run(first);
  }
  recorder.end();
  return 0;
}

}  // namespace

Verb rollout_verb() {
  return {.name = "rollout",
          .help = "an episode of a policy, and how it looks",
          .takes_threads = false,
          .prepare = [](Options& to) -> std::function<int(Trained&)> {
            auto settings = std::make_shared<RolloutSettings>();
            to.number("seed", settings->seed, 0, ~uint64_t{0}, "of the episodes of evaluate");
            to.number("episode", settings->episode, 0, 1000000, "which one of them");
            to.number("steps", settings->steps, 1, kNoLimit, "at most so many of it")
                .default_is("the whole episode");
            to.path("actions", settings->actions, "FILE",
                    "take these in place of the policy's: a line each, a number, an array, or a "
                    "record of rollout");
            to.path("render", settings->render, "FILE",
                    "pictures: FILE.gif moves, FILE.png is one for each step");
            to.number("frames-per-second", settings->frames_per_second, 1, 50,
                      "of a GIF; a frame is a step");
            return [settings](Trained& trained) { return rollout(*settings, trained); };
          }};
}

}  // namespace eggroll
