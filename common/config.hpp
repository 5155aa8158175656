// RunConfig: everything a training run is made of, from command line over config file over
// defaults. One table (config_options.cpp) names, documents, parses, prints and checks each option;
// an unknown key or a bad value is a ConfigError of one line that names key, value, what is allowed
// and where it came from.
//
// How main uses it:
//   parsed = parse_train_config(arguments)
//   config = parsed.config.resume.empty() ? parsed.config : config_for_resume(saved, parsed)
//   (with --auto-resume, `resume` becomes the run folder first, where that holds a checkpoint)
//   validate_config(config, parsed.given)
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/parameters.hpp"
#include "common/rules.hpp"

namespace eggroll {

// A number of generations, given as such or as a percentage of the planned ones ("42%").
struct Schedule {
  double value = 1000;
  bool is_percent = false;

  double generations(uint64_t planned) const {
    return is_percent ? value / 100.0 * static_cast<double>(planned) : value;
  }
  bool operator==(const Schedule&) const = default;
};

// What a run does when a checkpoint or its metrics cannot be written.
enum class OnStorageFailure { go_on, stop };

struct RunConfig {
  std::string task = "lm";
  std::string data;
  std::string run = "run";
  std::string resume;
  bool auto_resume = false;  // go on with the run in `run` where it holds a checkpoint
  std::string init;
  double held_out = 0.05;

  uint32_t layers = 6;
  uint32_t width = 256;

  uint64_t seed = 1;
  uint64_t generations = 1000;
  uint64_t population = 1024;
  uint32_t group_size = 2;
  uint32_t tokens_per_update = 100;
  int noise_rank = 1;
  uint32_t noise_reuse = 1;  // generations that share their noise; 0: all of them
  int sigma_shift = 4;
  Rounding perturbation_rounding = Rounding::nearest;
  Carry carry = Carry::pair;

  FitnessRule fitness = FitnessRule::levels;
  FitnessEncoding fitness_encoding = FitnessEncoding::int32;
  UpdateRule update = UpdateRule::sigma_delta;
  double threshold_factor = 2;
  double alpha = 4;
  Schedule alpha_decay = {};

  DeviceChoice device = DeviceChoice::automatic;
  AllReduce all_reduce = AllReduce::automatic;
  StepMode step = StepMode::replicated;
  bool survive = false;
  double silence_limit = 10;  // seconds
  TileSchedule schedule = TileSchedule::automatic;
  double straggler_limit = 2;     // times the usual time of a tile
  int threads = 0;                // 0: the usable cores of the node, shared among its ranks
  uint64_t validate_every = 100;  // 0: only at the end; so too for checkpoints and digests
  uint64_t validate_streams = 64;
  uint64_t checkpoint_every = 1000;
  uint64_t checkpoint_seconds = 600;  // 0: not by the clock
  uint64_t keep_checkpoints = 3;
  OnStorageFailure on_storage_failure = OnStorageFailure::go_on;
  uint64_t digest_every = 100;
  bool dry_run = false;

  uint64_t pairs() const { return population / 2; }
  uint64_t sequences() const { return population / group_size; }
  IntRnnShape shape() const { return {layers, width}; }
  bool operator==(const RunConfig&) const = default;
};

// Of the sigma_delta rule.
inline constexpr double kLargestThreshold = 1 << 30;

// Where an option was set: its name -> "command line" or "file.ini line 3".
using OptionSources = std::map<std::string, std::string>;

struct ParsedConfig {
  RunConfig config;
  OptionSources given;  // the options that command line or file set
  bool help = false;    // --help was there: config and given are those of an empty command line
};

// arguments: what follows `eggroll train`. Each value is checked by itself; values against each
// other by validate_config.
ParsedConfig parse_train_config(const std::vector<std::string>& arguments);
// The text of a config.ini as write_config made it, or as a person wrote it; `source` names it in
// errors. Lines are `key = value`, blank, or comments; a # that begins a comment stands at the
// start of a line or after a blank. A value that holds # or begins with a blank stands in quotes.
RunConfig parse_config_text(const std::string& text, const std::string& source);
// Complete and re-runnable: each option of the run with its value, grouped and commented as in
// --help. What belongs to one invocation (resume, auto-resume, dry-run) is left out.
std::string write_config(const RunConfig& config);
std::string train_help();

// Everything that can be checked without reading data: ranges, and combinations that exclude each
// other. `sources` puts into the error where a value came from.
void validate_config(const RunConfig& config, const OptionSources& sources = {});
// --resume: the run goes on with its own config; only what cannot change its results may differ
// (generations, threads, device, all-reduce, step, run, data, fitness-encoding, and when
// checkpoints are written and how many are kept, and the like). Any other option that is given with
// another value is a ConfigError. Without --run it goes on in the folder that --resume names. Other
// planned generations leave a schedule in percent where it was: it becomes the number of
// generations that it stood for.
RunConfig config_for_resume(const RunConfig& saved, const ParsedConfig& given);

}  // namespace eggroll
