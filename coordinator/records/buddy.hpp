// What the survivors of a lost rank go back to, in memory (buddy checkpoints): on every rank what is
// learnt, which is the same everywhere, and the carried states of its own pairs and of the pairs of
// another rank, on another node where there is one. Kept at the start of each generation, so a loss
// costs the work of that generation. The copy before it stays too, since a rank may be lost while the
// others are keeping one: at every moment there is one that all ranks hold.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/messages/collectives.hpp"
#include "common/partition.hpp"
#include "coordinator/records/run_state.hpp"
#include "kernels/learner.hpp"
#include "worker/task.hpp"

namespace eggroll {

// Which copy a rank holds, as it tells the others.
struct HeldCopy {
  bool is_held = false;
  uint64_t generation = 0;   // completed
  PairRange own, neighbour;  // whose carried states
};

class BuddyCheckpoints {
 public:
  // Collective: keeps what task and learner hold now, after so many generations.
  void keep(const RunConfig& config, Collectives& group, Task& task, Learner& learner,
            uint64_t generation);
  std::array<HeldCopy, 2> held() const { return {copies_[0].held, copies_[1].held}; }

  // Collective, over the survivors: puts the copy of this generation back into their learners and
  // tasks, each with its new share of the pairs. held: of each rank of the group.
  void restore(const RunConfig& config, Collectives& group, Task& task, Learner& learner,
               uint64_t generation, const std::vector<std::array<HeldCopy, 2>>& held);

 private:
  struct Copy {
    HeldCopy held;
    RunArenas state;
    std::vector<std::byte> own_states, neighbour_states;
  };

  std::array<Copy, 2> copies_;
  size_t newest_ = 0;  // the one that the next keep() leaves alone
};

// The newest generation, `latest` at most, of which every rank holds a copy and all carried states are
// there; nothing where there is none.
std::optional<uint64_t> common_copy(const RunConfig& config, bool carries_states,
                                    const std::vector<std::array<HeldCopy, 2>>& held,
                                    uint64_t latest);

}  // namespace eggroll
