#include "worker/control/mujoco/mujoco_types.hpp"

#include <algorithm>

#include "worker/control/mujoco/mujoco_environment.hpp"
#include "worker/control/mujoco/mujoco_rules.hpp"

namespace eggroll {
namespace {

std::shared_ptr<const MujocoWorld> world_of(const char* name, const EnvironmentSettings& settings) {
  return std::make_shared<const MujocoWorld>(MujocoSettings{
      .name = name, .is_in_full = settings.full_observations, .model_folder = settings.model_dir});
}

}  // namespace

std::vector<EnvironmentType> mujoco_environments() {
  std::vector<EnvironmentType> types;
  for (const char* name : kMujocoEnvironments) {
    const auto rules =
        std::ranges::find(mujoco_rules(), std::string_view(name), &MujocoRules::name);
    types.push_back({.name = name,
                     .package = kMujocoPackage,
                     .make = [name](const EnvironmentSettings& settings,
                                    size_t slots) -> std::unique_ptr<Environments> {
                       const auto world = world_of(name, settings);
                       return std::make_unique<EachSlot<MujocoEnvironment>>(
                           slots, [&] { return MujocoEnvironment(world); });
                     },
                     .arithmetic =
                         [name](const EnvironmentSettings& settings) {
                           return world_of(name, settings)->identity();
                         },
                     .takes_models = true,
                     .has_full_observations = rules->observations_in_full > rules->observations});
  }
  return types;
}

std::string mujoco_library() { return physics_version(); }

}  // namespace eggroll
