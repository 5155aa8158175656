// `eggroll train --dry-run`: what a run would be and cost, without running it.
#pragma once

#include <string>

#include "common/config.hpp"

namespace eggroll {

std::string dry_run_report(const RunConfig& config, int ranks, int threads);

}  // namespace eggroll
