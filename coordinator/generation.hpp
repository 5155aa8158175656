// One generation, from plan to step: start reading here. What travels, with N members and P ranks:
//
//   rank 0                         every rank                                 what travels
//   plan ------------------------> plan                                       broadcast, 32 bytes
//                                  evaluate the members of my pairs,          nothing
//                                  or of tiles that I take one by one         mail, 64 bytes a tile
//   fitness of all  <------------- fitness of these members                   gather, 4 N bytes (ternary:
//                                                                             N / 10), and 80 a rank
//   shape: utilities as integers
//   d, and the step's numbers ---> d of my pairs                              scatter, 1 or 2 bytes a d;
//                                                                             broadcast, 216 bytes
//                                  Z = sum_j d_j E_j over my pairs, exact     nothing
//                                  Z over all ranks, while the rest of it     all-reduce, up to 4 bytes a
//                                  is made                                    parameter, twice
//                                  step: every rank the same                  nothing
//                                  (sharded: reduce-scatter of Z, step of     up to 4 bytes a parameter,
//                                  my shard, all-gather of parameters)        once, and the parameters
//                                  running sums, where the task has some      all-reduce, 8 bytes each
#pragma once

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "coordinator/generation_record.hpp"
#include "coordinator/update.hpp"
#include "kernels/learner.hpp"
#include "worker/task.hpp"

namespace eggroll {

// Collective. The task reads the parameters of the learner. stop_requested: whether this rank was asked
// to stop.
GenerationRecord run_generation(const GenerationPlan& plan, const RunConfig& config,
                                const Reduction& reduction, Task& task, Learner& learner,
                                bool works_in_bulk, bool stop_requested);

}  // namespace eggroll
