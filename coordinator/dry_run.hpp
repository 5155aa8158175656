// `eggroll train --dry-run`: what a run would be and cost, without running it.
#pragma once

#include <string>

#include "common/config.hpp"
#include "coordinator/devices.hpp"

namespace eggroll {

std::string dry_run_report(const RunConfig& config, int ranks, int threads,
                           const ComputeDevice& device);

}  // namespace eggroll
