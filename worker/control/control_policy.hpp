// The policy of a run of task control: its shape and tensors, and rollouts of it.
#pragma once

#include <memory>

#include "common/config.hpp"
#include "common/layout.hpp"
#include "worker/control/rollout.hpp"
#include "worker/models/mlp.hpp"

namespace eggroll {

// Of a thread: rows enough for a product, few enough for its caches.
inline constexpr size_t kRolloutSlots = 64;

EnvironmentSpec environment_spec(const ControlSettings& settings);
MlpShape policy_shape(const ControlSettings& settings, const EnvironmentSpec& spec);
Rollout::Tensors policy_tensors(const ControlSettings& settings);
ParameterLayout control_layout(const RunConfig& config);

// For one thread.
std::unique_ptr<Rollout> make_rollout(const RunConfig& config, Device& device,
                                      const Learner& learner, size_t slots);

}  // namespace eggroll
