// A kind of environment, as the table (environment_types.hpp) has it: how it is made, and what of.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "worker/control/environment.hpp"

namespace eggroll {

// Of those that can be had in more than one way.
struct EnvironmentSettings {
  std::string model_dir = {};      // MuJoCo: MJCF files from there; empty: those of the program
  bool full_observations = false;  // Ant, Humanoid: as Gymnasium has them
};

struct EnvironmentType {
  std::string name;
  const char* package;  // Debian's, that brings what it needs; nullptr: it needs nothing
  // Empty where this build has not what it needs. Throws ConfigError, as of a file that is not there.
  std::function<std::unique_ptr<Environments>(const EnvironmentSettings&, size_t slots)> make;
  // What computes, where that is not the same bits on every processor: a library, its version, files.
  std::function<std::string(const EnvironmentSettings&)> arithmetic;
  // Which settings it has a use for.
  bool takes_models = false, has_full_observations = false;
};

// Of environments that this build has not.
inline std::vector<EnvironmentType> absent_environments(std::span<const char* const> names,
                                                        const char* package) {
  std::vector<EnvironmentType> types;
  for (const char* name : names)
    types.push_back({.name = name, .package = package, .make = {}, .arithmetic = {}});
  return types;
}

}  // namespace eggroll
