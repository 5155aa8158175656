// What can be done with a trained policy: evaluate, rollout.
#pragma once

#include <vector>

#include "worker/task_type.hpp"

namespace eggroll {

std::vector<Verb> control_verbs();
Verb rollout_verb();

}  // namespace eggroll
