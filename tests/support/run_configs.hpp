// Configurations that tests of them have in common.
#pragma once

#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/config.hpp"
#include "tests/support/option_catalogue.hpp"

namespace eggroll::test {

using Arguments = std::vector<std::string>;

// The words of the ConfigError that `work` ends in.
template <typename Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const ConfigError& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("not a ConfigError: ") + error.what();
  }
  return "no error";
}

inline const OptionCatalogue& catalogue() { return option_catalogue(); }

inline RunConfig standard() { return default_config(catalogue()); }
inline RunConfig parsed(const Arguments& arguments) {
  return parse_train_config(arguments, catalogue()).config;
}

inline RunConfig read_back(const RunConfig& config) {
  return parse_config_text(write_config(config, catalogue()), "x.ini", catalogue());
}

// Every option of task lm with sigma-delta other than its default.
inline RunConfig unusual_config() {
  RunConfig c = standard();
  c.run = "runs/1";
  c.init = "seed.h5";
  c.seed = 18446744073709551615u;
  c.generations = 4294967294u;
  c.population = 4294967296u;
  c.group_size = 32;
  c.sampling = Sampling::independent;
  c.noise_rank = 16;
  c.noise_reuse = 0;
  c.fitness = FitnessRule::sign;
  c.fitness_encoding = FitnessEncoding::ternary;
  c.device = DeviceChoice::cpu;
  c.all_reduce = AllReduce::mpi;
  c.step = StepMode::sharded;
  c.threads = 3;
  c.schedule = TileSchedule::fixed;
  c.straggler_limit = 1.5;
  c.silence_limit = 2.5;
  c.validate_every = 0;
  c.checkpoint_every = 18446744073709551615u;
  c.checkpoint_seconds = 4294967295u;
  c.keep_checkpoints = 1;
  c.on_storage_failure = OnStorageFailure::stop;
  c.digest_every = 5;
  c.of_task = {{"data", "/texts/a b"},
               {"held-out", "0.1"},
               {"layers", "2"},
               {"width", "64"},
               {"tokens-per-update", "65536"},
               {"carry", "own"},
               {"sigma-shift", "8"},
               {"perturbation-rounding", "floor"},
               {"validate-streams", "7"}};
  c.of_update = {
      {"threshold-factor", "0.3333333333333333"}, {"alpha", "0.2"}, {"alpha-decay", "42%"}};
  return c;
}

inline std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

}  // namespace eggroll::test
