// What the survivors of a lost rank go back to, in memory: on every rank the parameters and
// accumulators, which are the same everywhere, and the carried states of its own pairs and of the
// pairs of another rank, on another node where there is one. Kept at the start of each generation,
// so a loss costs the work of that generation. The guard before it stays too, since a rank may be
// lost while the others are keeping one: at every moment there is one that all ranks hold.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/messages/collectives.hpp"
#include "common/partition.hpp"
#include "coordinator/records/snapshots.hpp"
#include "worker/task.hpp"

namespace eggroll {

// Which guard a rank holds, as it tells the others.
struct HeldGuard {
  bool is_held = false;
  RunPosition position;
  PairRange own, neighbour;  // whose carried states
};

class Guards {
 public:
  // Collective: keeps what `task` holds now, at this position.
  void keep(const RunConfig& config, Collectives& group, Task& task, const RunPosition& position);
  std::array<HeldGuard, 2> held() const { return {guards_[0].held, guards_[1].held}; }

  // Collective, over the survivors: puts the guard of this generation back into their tasks, each
  // with its new share of the pairs. held: of each rank of the group.
  RunPosition restore(const RunConfig& config, Collectives& group, Task& task, uint64_t generation,
                      const std::vector<std::array<HeldGuard, 2>>& held);

 private:
  struct Guard {
    HeldGuard held;
    std::vector<int8_t> parameters;
    std::vector<int32_t> accumulators;
    std::vector<int8_t> own_states, neighbour_states;
  };

  std::array<Guard, 2> guards_;
  size_t newest_ = 0;  // the one that the next keep() leaves alone
};

// The newest generation, `latest` at most, of which every rank holds a guard and all carried states
// are there; nothing where there is none.
std::optional<uint64_t> common_guard(const RunConfig& config,
                                     const std::vector<std::array<HeldGuard, 2>>& held,
                                     uint64_t latest);

}  // namespace eggroll
