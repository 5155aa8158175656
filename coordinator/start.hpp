// What a new run starts from.
#pragma once

#include <cstddef>
#include <vector>

#include "common/config.hpp"
#include "common/layout.hpp"

namespace eggroll {

// The parameters of --init, or those the task makes from the seed; everything else starts at zero.
// Throws ConfigError where the checkpoint's layout is another.
std::vector<std::byte> start_parameters(const RunConfig& config, const ParameterLayout& layout);

}  // namespace eggroll
