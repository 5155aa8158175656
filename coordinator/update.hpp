// Utilities -> parameters: partial sums of this rank's pairs, their exact integer sum over ranks bucket
// by bucket, overlapped with the reconstruction of the next bucket, and the optimiser's step.
//   replicated  an all-reduce, and a step that is the same on every rank
//   sharded     a reduce-scatter, a step of this rank's shard, and an all-gather of parameters
// Both come to the same parameters. Sums travel from the memory they are made in where a reduction
// between devices is given, else from host memory; those of a single rank stay where they are.
#pragma once

#include <cstdint>
#include <span>

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/device_reduction.hpp"
#include "common/rules.hpp"
#include "coordinator/generation_record.hpp"
#include "kernels/learner.hpp"
#include "kernels/optimizers/optimizer.hpp"

namespace eggroll {

// How and between whom sums of ranks are reduced.
struct Reduction {
  Collectives& group;
  DeviceReduction* devices = nullptr;  // of the same group; all of its ranks have one, or none
  StepMode step = StepMode::replicated;
};

// What a step's numbers depend on, of the generation that has been shaped.
StepContext step_context(const RunConfig& config, uint64_t generation, uint64_t sum_squares,
                         double unit);

// utilities: of the pairs of this rank.
UpdateReport apply_update(Learner& learner, const Reduction& reduction, int noise_rank,
                          const ShapedSummary& summary, const Utilities& utilities);

// Collective. Where ranks step shards, each has the optimiser's slots (so many) of its own alone; after
// this all have all.
void gather_slots(Learner& learner, size_t slots, Collectives& group);

}  // namespace eggroll
