// The environments there are, as a table: a new one is a class (environment.hpp) and a row. Those that
// need a library which this build lacks are rows without a maker.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/control/environment_type.hpp"

namespace eggroll {

const std::vector<EnvironmentType>& environment_types();
// Throws OptionError where there is none of that name, or where this build has it not.
const EnvironmentType& environment_type(
    std::string_view name, std::span<const EnvironmentType> among = environment_types());
// Throws OptionError where one is set that the type has no use for.
void check_settings(const EnvironmentType& type, const EnvironmentSettings& settings);
// How it computes: what the type says, and, where that is not exact, the digest of a probe, an episode
// of 200 steps, so that machines whose libraries give other bits know of each other.
std::string environment_arithmetic(const EnvironmentType& type,
                                   const EnvironmentSettings& settings);
// Names of those that this build has, and what brings the others, in a line.
std::string environments_text(std::span<const EnvironmentType> of = environment_types());
// What simulates bodies in this build, with its version as it runs: "Box2D 2.4.1".
std::vector<std::string> physics_libraries();

}  // namespace eggroll
