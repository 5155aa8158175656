// What a run keeps and goes on from. Rank 0 alone touches files; states come to it and go from it in
// slices, so the file is the same for any number of ranks and no rank holds the states of all. The main
// thread gathers, a thread of rank 0 writes (snapshot_writer.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/files/checkpoint.hpp"
#include "common/messages/collectives.hpp"
#include "coordinator/records/run_state.hpp"
#include "coordinator/records/snapshot_writer.hpp"
#include "kernels/learner.hpp"
#include "worker/task.hpp"

namespace eggroll {

// Collective. What the run holds after so many generations; returns when the writer has all it needs,
// and its disk is at work on it. writer: rank 0's, nullptr elsewhere. config_text: as the file has it.
void start_snapshot(const RunConfig& config, const std::string& config_text, Collectives& group,
                    Task& task, Learner& learner, uint64_t generation, SnapshotWriter* writer);

// Collective. Fills learner and carried states from an open checkpoint (rank 0; nullptr elsewhere) and
// returns how many generations it has completed.
uint64_t load_snapshot(const CheckpointReader* reader, const RunConfig& config, Collectives& group,
                       Task& task, Learner& learner);

// Collective. Rank 0's parameters to all, and nothing gathered yet: the start of a run.
void begin_with(Collectives& group, const RunConfig& config, Learner& learner,
                std::vector<std::byte> parameters);

}  // namespace eggroll
