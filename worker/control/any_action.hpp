// Actions by chance, each alike: what probes, benches and tests act with.
#pragma once

#include <cmath>
#include <vector>

#include "worker/control/environment.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {

// [spec.actions()]: of a choice any one, of numbers any within their bounds.
inline std::vector<float> any_action(const EnvironmentSpec& spec, EpisodeRandom& random) {
  if (spec.choices > 0) return {static_cast<float>(std::floor(spec.choices * random.uniform()))};
  std::vector<float> action;
  for (uint32_t i = 0; i < spec.actions(); ++i)
    action.push_back(static_cast<float>(random.uniform(spec.low[i], spec.high[i])));
  return action;
}

}  // namespace eggroll
