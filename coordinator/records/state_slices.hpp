// Carried states on their way between ranks, a slice at a time: no rank holds those of all.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/carried_states.hpp"
#include "common/config.hpp"
#include "common/partition.hpp"

namespace eggroll {

inline constexpr uint64_t kSliceBytes = 16 << 20;

// Calls move(rank, first slot of that rank, slots) for the states of all members in slot order.
template <typename Move>
void for_each_state_slice(const RunConfig& config, int ranks, const CarriedStates& carried,
                          Move&& move) {
  const uint64_t slice = std::max<uint64_t>(1, kSliceBytes / carried.slot_bytes());
  for (int r = 0; r < ranks; ++r) {
    const uint64_t slots = pairs_of_rank(config.pairs(), r, ranks).count * carried.slots_per_pair();
    for (uint64_t first = 0; first < slots; first += slice)
      move(r, first, std::min(slice, slots - first));
  }
}

}  // namespace eggroll
