// The environments that MuJoCo simulates (environment.hpp): Hopper-v5 and its like, as Gymnasium has them.
// Slots and threads share what does not change, a MujocoWorld; each slot has a state of its own. Equal
// versions of the library on processors of one kind give equal bits, others do not: ranks compare
// MujocoWorld::identity().
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "worker/control/environment.hpp"
#include "worker/control/mujoco/physics.hpp"

namespace eggroll {

struct MujocoRules;

struct MujocoSettings {
  std::string name = {};  // one of mujoco_environment_names()
  // Observations have forces and inertias too: 105 numbers of Ant instead of 27, 348 of the humanoids
  // instead of 45. The others have all there is in any case.
  bool is_in_full = false;
  // Of MJCF files of Gymnasium's names; empty: the built-in ones.
  std::filesystem::path model_folder = {};
};

std::vector<std::string> mujoco_environment_names();

class MujocoWorld {
 public:
  // Throws ConfigError: no such environment, no such file, no such model.
  explicit MujocoWorld(const MujocoSettings& settings);

  const EnvironmentSpec& spec() const { return spec_; }
  const MujocoRules& rules() const { return rules_; }
  const PhysicsModel& model() const { return model_; }
  bool is_in_full() const { return is_in_full_; }
  // Numbers of the bodies that the rules name.
  const std::array<int, 2>& bodies() const { return bodies_; }
  // What ranks must have in common: "MuJoCo 2.2.2, hopper.xml 0123456789abcdef".
  std::string identity() const;

 private:
  const MujocoRules& rules_;
  const bool is_in_full_;
  const PhysicsModel model_;
  EnvironmentSpec spec_;
  std::array<int, 2> bodies_ = {};
};

class MujocoEnvironment {
 public:
  explicit MujocoEnvironment(std::shared_ptr<const MujocoWorld> world);

  const EnvironmentSpec& spec() const { return world_->spec(); }
  void reset(uint64_t seed, std::span<float> observation);
  // A step that failed is worth nothing and observed as zeros, and there is none after it.
  Step step(std::span<const float> action, std::span<float> observation);
  void draw(Drawing& to) const;
  size_t bytes() const { return state_.bytes(); }

  PhysicsState& state() { return state_; }  // where it is; for tests

 private:
  std::shared_ptr<const MujocoWorld> world_;
  PhysicsState state_;
};

}  // namespace eggroll
