// Utility differences -> parameters: partial sums of this rank's pairs, their exact integer sum
// over ranks bucket by bucket, overlapped with the reconstruction of the next bucket, and the step.
//   replicated  an all-reduce, and a step that is the same on every rank
//   sharded     a reduce-scatter, a step of this rank's shard, and an all-gather of parameters
// Both come to the same parameters. Sums travel from the memory they are made in where a reduction
// between devices is given, else from host memory; those of a single rank stay where they are.
#pragma once

#include <cstdint>
#include <span>

#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/device_reduction.hpp"
#include "common/rules.hpp"
#include "kernels/backend.hpp"

namespace eggroll {

struct UpdateReport {
  uint64_t changed = 0;      // parameters that moved
  double reconstruct_s = 0;  // own pairs' share of Z; of a single rank the step as well
  double all_reduce_s = 0;   // moving messages meanwhile, and what was left to wait for; sharded:
                             // the all-gather as well
  double step_s = 0;
  bool sums_travel_wide = false;  // some bucket needed 64 bits on the wire
};

// Where and how sums of ranks meet.
struct Meeting {
  Collectives& group;
  DeviceReduction* devices = nullptr;  // of the same group; all of its ranks have one, or none
  StepMode step = StepMode::replicated;
};

// d: utility differences of the pairs this rank's backend is assigned.
UpdateReport apply_update(Backend& backend, const Meeting& meeting, uint32_t noise_epoch,
                          int noise_rank, const ShapedSummary& summary, std::span<const int8_t> d);

// Collective. Where ranks step shards, each has the accumulators of its own alone; after this all
// have all.
void gather_accumulators(Backend& backend, Collectives& group);

}  // namespace eggroll
