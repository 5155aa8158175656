// The options of task control: which environment, what the policy is like, and what a member's fitness
// is made of.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "worker/control/environment_types.hpp"
#include "worker/float_settings.hpp"
#include "worker/models/mlp.hpp"

namespace eggroll {

enum class ActionChoice {
  deterministic,  // the choice of the largest output; numbers as they come out
  sampled,        // a choice by softmax; numbers with normal noise
};
enum class ObservationScale { normalised, raw };
// Who meets the same episodes in a generation.
enum class EpisodeSeeds { population, pair, member };

template <>
inline constexpr std::array<std::string_view, 3> kNames<Activation> = {"tanh", "relu", "pqn"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<ActionChoice> = {"deterministic",
                                                                         "sampled"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<ObservationScale> = {"normalised", "raw"};
template <>
inline constexpr std::array<std::string_view, 3> kNames<EpisodeSeeds> = {"population", "pair",
                                                                         "member"};

struct ControlSettings : FloatSettings {
  std::string env = "CartPole-v1";
  EnvironmentSettings of_env;
  uint32_t layers = 3, width = 256;
  Activation activation = Activation::tanh;
  ActionChoice actions = ActionChoice::deterministic;
  double action_noise = 0.1;
  ObservationScale observations = ObservationScale::normalised;
  uint32_t episodes = 1;
  EpisodeSeeds episode_seeds = EpisodeSeeds::pair;
  uint32_t validate_episodes = 32;

  void declare(Options& to);
};

ControlSettings control_settings(const RunConfig& config);

}  // namespace eggroll
