// The members of a generation, from their perturbation to the differences of fitness on rank 0:
// each rank its own pairs, or tiles as they are taken.
#pragma once

#include <cstdint>
#include <vector>

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "coordinator/generation.hpp"
#include "worker/task.hpp"

namespace eggroll {

// Whether tiles are taken one by one: where members carry no state that would have to move with
// them, with schedule = dynamic, or auto where a backend does not work in bulk
// (Backend::works_in_bulk); one rank alone has nobody to share with.
bool takes_tiles(const RunConfig& config, int ranks, bool works_in_bulk);

// Collective. [pairs] first member - second on rank 0 (with ternary encoding the sign of it), empty
// elsewhere. Fills in what the record tells of evaluation and gathering.
std::vector<int32_t> evaluate_population(const GenerationPlan& plan, const RunConfig& config,
                                         Collectives& group, Task& task, bool stop_requested,
                                         GenerationRecord& record);

}  // namespace eggroll
