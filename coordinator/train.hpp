// `eggroll train`: config -> rooms -> generations -> summary. Everything that can be wrong with
// options, files and data is found on any rank before anything is computed, and ends all ranks alike.
#pragma once

#include <string>
#include <vector>

#include "common/messages/collectives.hpp"

namespace eggroll {

// Collective over the world, a group of all ranks; returns the exit code (common/exit_codes.hpp). A
// ConfigError is the same on every rank; any other exception is this rank's alone.
int train(const std::vector<std::string>& arguments, MpiSession& session, Collectives& world);

}  // namespace eggroll
