// What one run holds from its first generation to its last, and the loop over them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/files/checkpoint.hpp"
#include "common/messages/collectives.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/devices.hpp"
#include "coordinator/records/buddy.hpp"
#include "coordinator/records/run_folder.hpp"
#include "coordinator/records/run_log.hpp"
#include "coordinator/records/storage.hpp"
#include "coordinator/records/stragglers.hpp"
#include "kernels/device.hpp"
#include "kernels/learner.hpp"
#include "worker/task.hpp"

namespace eggroll {

struct Run {
  RunConfig config;
  std::string config_text;                       // as files have it
  std::optional<CheckpointReader> resumed_from;  // rank 0 of a resumed run, until it is loaded
  ComputeDevice chosen;                          // of this rank, as long as it lives
  std::unique_ptr<Device> device;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<Task> task;
  std::string name;                 // of this rank, whatever becomes of the group: "rank 2 on n7"
  Stopwatch since_start;            // what max_seconds is held against
  bool is_out_of_time = false;      // rank 0
  uint64_t first_generation = 0;    // completed when this process began
  uint64_t generation = 0;          // completed
  std::optional<RunFolder> folder;  // rank 0
  std::optional<RunLog> log;        // rank 0
  std::optional<Storage> storage;   // rank 0
  Stragglers stragglers;            // rank 0
  std::optional<BuddyCheckpoints> buddies;  // with survive
  std::vector<Regrouping> regroupings;      // all so far, on every rank: any may come to lead
};

// Rank 0: opens what it keeps of a run that stands at its generation.
void begin_records(Run& run);

// Generation after generation until the last one, or until a signal or max_seconds asks to stop.
// Collective. Throws GroupBroken when a rank is lost and the group says so; the run then stands nowhere
// until a buddy checkpoint or one of the disk is put back.
void run_generations(Run& run, Collectives& group);

}  // namespace eggroll
