// Task control: a policy acts in an environment, and what it is rewarded with is its fitness. Members
// take many steps side by side, each layer one product for all of them (rollout.hpp). What members see
// is normalised by statistics of all that has been seen, which are part of the parameters, as sums of
// integers (observation_statistics.hpp).
#pragma once

#include "worker/task_type.hpp"

namespace eggroll {

TaskType control_task_type();

}  // namespace eggroll
