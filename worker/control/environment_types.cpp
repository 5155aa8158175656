#include "worker/control/environment_types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "common/options.hpp"
#include "worker/control/any_action.hpp"
#include "worker/control/box2d/box2d_types.hpp"
#include "worker/control/classic/acrobot.hpp"
#include "worker/control/classic/cart_pole.hpp"
#include "worker/control/classic/mountain_car.hpp"
#include "worker/control/classic/pendulum.hpp"
#include "worker/control/mujoco/mujoco_types.hpp"

namespace eggroll {
namespace {

// Of a class that needs nothing but itself.
template <typename Environment>
EnvironmentType classic() {
  return {.name = Environment::spec().name,
          .package = nullptr,
          .make = [](const EnvironmentSettings&, size_t slots) -> std::unique_ptr<Environments> {
            return std::make_unique<EachSlot<Environment>>(slots, [] { return Environment(); });
          },
          .arithmetic = {}};
}

}  // namespace

const std::vector<EnvironmentType>& environment_types() {
  static const std::vector<EnvironmentType> types = [] {
    std::vector<EnvironmentType> all = {classic<CartPole>(), classic<Pendulum>(),
                                        classic<Acrobot>(), classic<MountainCar>(),
                                        classic<MountainCarContinuous>()};
    for (const auto& more : {box2d_environments(), mujoco_environments()})
      all.insert(all.end(), more.begin(), more.end());
    return all;
  }();
  return types;
}

const EnvironmentType& environment_type(std::string_view name,
                                        std::span<const EnvironmentType> among) {
  const auto found = std::ranges::find(among, name, &EnvironmentType::name);
  if (found == among.end())
    throw OptionError("env", std::string(name), "allowed are " + environments_text(among));
  if (!found->make)
    throw OptionError("env", std::string(name),
                      fmt::format("this build has it not; it needs the package {} when eggroll is "
                                  "built; allowed are {}",
                                  found->package, environments_text(among)));
  return *found;
}

void check_settings(const EnvironmentType& type, const EnvironmentSettings& settings) {
  const auto having = [](bool EnvironmentType::*what) {
    std::string names;
    for (const EnvironmentType& each : environment_types())
      if (each.*what) (names += names.empty() ? "" : ", ") += each.name;
    return names.empty() ? "no environment of this build" : names;
  };
  if (!settings.model_dir.empty() && !type.takes_models)
    throw OptionError("model-dir", settings.model_dir,
                      fmt::format("env = {} is made of no model file; allowed with {}", type.name,
                                  having(&EnvironmentType::takes_models)));
  if (settings.full_observations && !type.has_full_observations)
    throw OptionError("full-observations", "true",
                      fmt::format("env = {} is observed in one way; allowed with {}", type.name,
                                  having(&EnvironmentType::has_full_observations)));
}

std::string environment_arithmetic(const EnvironmentType& type,
                                   const EnvironmentSettings& settings) {
  constexpr uint64_t kSeed = 1, kActions = 2;
  constexpr int kSteps = 200;
  if (!type.arithmetic) return "exact";
  const auto environments = type.make(settings, 1);
  const EnvironmentSpec& spec = environments->spec();
  EpisodeRandom random(kActions);
  std::vector<float> action(spec.actions()), observation(spec.observations);
  Command command = Command::reset;
  Step step;
  uint64_t digest = 14695981039346656037u;  // FNV-1a
  for (int i = 0; i < kSteps; ++i) {
    environments->run({{&command, 1}, {&kSeed, 1}, action, observation, {&step, 1}});
    for (const float number : observation)
      digest = (digest ^ std::bit_cast<uint32_t>(number)) * 1099511628211u;
    command = step.terminated || step.failed ? Command::reset : Command::step;
    step = {};
    action = any_action(spec, random);
  }
  return fmt::format("{}, probe {:016x}", type.arithmetic(settings), digest);
}

std::string environments_text(std::span<const EnvironmentType> of) {
  std::string here, absent;
  for (const EnvironmentType& type : of) {
    std::string& names = type.make ? here : absent;
    (names += names.empty() ? "" : ", ") += type.name;
    if (!type.make) names += " (" + std::string(type.package) + ")";
  }
  return absent.empty() ? here : here + "; not in this build: " + absent;
}

std::vector<std::string> physics_libraries() {
  std::vector<std::string> libraries = {box2d_library(), mujoco_library()};
  std::erase(libraries, "");
  return libraries;
}

}  // namespace eggroll
