// RunConfig: everything a training run is made of. General options are its fields; those of the
// task and of the optimiser stay text until those whose they are read them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/options.hpp"
#include "common/rules.hpp"

namespace eggroll {

// What a run does when a checkpoint or its metrics cannot be written.
enum class OnStorageFailure { go_on, stop };
template <>
inline constexpr std::array<std::string_view, 2> kNames<OnStorageFailure> = {"continue", "stop"};

struct RunConfig {
  std::string task = "lm";
  std::string run = "run";
  std::string resume;
  bool auto_resume = false;  // go on with the run in `run` where it holds a checkpoint
  std::string init;

  uint64_t seed = 1;
  uint64_t generations = 1000;
  uint64_t population = 1024;
  uint32_t group_size = 2;  // members that see the same data
  Sampling sampling = Sampling::antithetic;
  int noise_rank = 1;
  uint32_t noise_reuse = 1;  // generations that share their noise; 0: all of them

  FitnessRule fitness = FitnessRule::levels;
  FitnessEncoding fitness_encoding = FitnessEncoding::int32;
  std::string update = "sigma-delta";  // an optimiser (kernels/optimizers.hpp)

  // All options of the task and of the optimiser (read_settings).
  OptionTexts of_task;
  OptionTexts of_update;

  DeviceChoice device = DeviceChoice::automatic;
  AllReduce all_reduce = AllReduce::automatic;
  StepMode step = StepMode::replicated;
  bool survive = false;
  double silence_limit = 10;  // seconds
  TileSchedule schedule = TileSchedule::automatic;
  double straggler_limit = 2;     // times the usual time of a tile
  int threads = 0;                // 0: the usable cores of the node, shared among its ranks
  uint64_t validate_every = 100;  // 0: only at the end; so too for checkpoints and digests
  uint64_t checkpoint_every = 1000;
  uint64_t checkpoint_seconds = 600;  // 0: not by the clock
  uint64_t max_seconds = 0;           // of one start of the run; 0: no limit
  uint64_t keep_checkpoints = 3;
  OnStorageFailure on_storage_failure = OnStorageFailure::go_on;
  uint64_t digest_every = 100;
  bool dry_run = false;

  // Members are evaluated two together, whatever their perturbations.
  uint64_t pairs() const { return population / 2; }
  // Perturbations that two members have, each at an address of its own.
  uint64_t perturbations_per_pair() const { return sampling == Sampling::antithetic ? 1 : 2; }
  // Addresses the noise of a generation.
  uint32_t noise_epoch(uint64_t generation) const {
    return static_cast<uint32_t>(noise_reuse == 0 ? 0 : generation / noise_reuse);
  }
  bool operator==(const RunConfig&) const = default;
};

// A task or an optimiser, as far as options go.
struct OptionChapter {
  std::string name;
  std::string help;  // one line
  // Of a task: values of general options, and of options of the optimiser that is its default, where
  // others than theirs are best.
  std::vector<std::pair<std::string, std::string>> defaults;
  // Its rows, bound to settings that live as long as the returned pointer.
  std::function<std::shared_ptr<void>(Options& to)> declare;
  // Throws ConfigError, best an OptionError, where its options and the run do not go together.
  std::function<void(const RunConfig& config)> check;
};

// What there is. The names of options are unique in each run, whatever its task and optimiser.
struct OptionCatalogue {
  std::vector<OptionChapter> tasks;
  std::vector<OptionChapter> updates;
};

// Where an option was set: its name -> "command line" or "file.ini line 3".
using OptionSources = std::map<std::string, std::string, std::less<>>;

// What a person or a file wrote, before it has a type.
struct OptionSetting {
  std::string name;
  std::string value;
  std::string source;
  bool is_from_file = false;
};

}  // namespace eggroll
