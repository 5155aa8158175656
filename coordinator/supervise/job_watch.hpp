// One start of a training job, watched to its end by what the run leaves in its folder:
// status.json, metrics.jsonl and checkpoints. For `eggroll supervise`.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/config.hpp"

namespace eggroll {

// From here on signals to this process are requests to the job: SIGUSR1 and SIGUSR2 as they are,
// SIGINT, SIGTERM and SIGHUP for a checkpoint and a stop, and the second of them for its end (those
// that are not left ignored, coordinator/stop_signal.hpp).
void take_requests();

struct JobEnd {
  using Clock = std::chrono::steady_clock;

  std::optional<int> exit_code;  // the run has ended, with this
  std::string death;             // else: why the job is gone
  Clock::time_point noticed;
  std::optional<Clock::time_point> first_generation;  // beyond the checkpoint it went on from
};

// Starts the command and returns when nothing is left of it on this machine. hang_after_s: without
// a sign of the run for so long the job is ended. Throws Error where the command cannot start.
JobEnd run_job(const std::vector<std::string>& command, const RunConfig& run, double hang_after_s);

}  // namespace eggroll
