// The members of a generation, from their perturbation to their fitness on rank 0: each rank its own
// pairs, or tiles as they are taken.
#pragma once

#include <vector>

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "coordinator/generation_record.hpp"
#include "worker/task.hpp"

namespace eggroll {

// Whether tiles are taken one by one: where members carry no state that would have to move with them,
// with schedule = dynamic, or auto where a device does not work in bulk (Device::works_in_bulk); one
// rank alone has nobody to share with.
bool takes_tiles(const RunConfig& config, int ranks, bool carries_states, bool works_in_bulk);

// Collective. [members] fitness on rank 0 (with ternary encoding of each pair the sign of its
// difference, and 0), empty elsewhere. Fills in what the record tells of evaluation and gathering.
std::vector<double> evaluate_population(const GenerationPlan& plan, const RunConfig& config,
                                        Collectives& group, Task& task, bool works_in_bulk,
                                        bool stop_requested, GenerationRecord& record);

}  // namespace eggroll
