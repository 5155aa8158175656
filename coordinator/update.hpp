// Utility differences -> parameters: partial sums of this rank's pairs, exact integer all-reduce
// bucket by bucket, overlapped with the reconstruction of the next bucket, and one step that is the
// same on every rank. Sums travel from the memory they are made in where a reduction between
// devices is given, else from host memory; those of a single rank stay where they are.
#pragma once

#include <cstdint>
#include <span>

#include "common/collectives.hpp"
#include "common/device_reduction.hpp"
#include "common/generation_plan.hpp"
#include "kernels/backend.hpp"

namespace eggroll {

struct UpdateReport {
  uint64_t changed = 0;      // parameters that moved
  double reconstruct_s = 0;  // own pairs' share of Z; of a single rank the step as well
  double all_reduce_s = 0;   // moving messages meanwhile, and what was left to wait for
  double step_s = 0;
  bool sums_travel_wide = false;  // some bucket needed 64 bits on the wire
};

// Where sums of ranks meet.
struct Meeting {
  Collectives& group;
  DeviceReduction* devices = nullptr;  // of the same group; all of its ranks have one, or none
};

// d: utility differences of the pairs this rank's backend is assigned.
UpdateReport apply_update(Backend& backend, const Meeting& meeting, uint32_t noise_epoch,
                          int noise_rank, const ShapedSummary& summary, std::span<const int8_t> d);

}  // namespace eggroll
