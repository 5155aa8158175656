// A RunConfig from the command line over a config file over defaults, and back into text. What
// tasks and optimisers there are is handed in as a catalogue. An unknown name or a bad value is a
// ConfigError of one line that names option, value, what is allowed and where it came from.
//
// How main uses it:
//   parsed = parse_train_config(arguments, catalogue)
//   config = parsed.config.resume.empty() ? parsed.config : config_for_resume(saved, parsed, catalogue)
//   (with --auto-resume, `resume` becomes the run folder first, where that holds a checkpoint)
//   validate_config(config, catalogue, parsed.given)
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/run_config.hpp"

namespace eggroll {

struct ParsedConfig {
  // With `resume` its general fields alone: the rest is known once the run's own config is.
  RunConfig config;
  OptionSources given;                  // the options that command line or file set
  std::vector<OptionSetting> settings;  // the same with their values, the file's first
};

// A task's run without options of its own: its defaults, complete.
RunConfig default_config(const OptionCatalogue& catalogue, std::string_view task = "lm",
                         std::optional<std::string> update = std::nullopt);

// arguments: what follows `eggroll train`. Each value is checked by itself; values against
// each other by validate_config.
ParsedConfig parse_train_config(const std::vector<std::string>& arguments,
                                const OptionCatalogue& catalogue);
// The text of a config.ini as write_config made it, or as a person wrote it; `source`
// names it in errors.
RunConfig parse_config_text(const std::string& text, const std::string& source,
                            const OptionCatalogue& catalogue);
// Complete and re-runnable: each option of the run with its value, grouped and commented as in --help.
// What belongs to one invocation (resume, auto-resume, survive, max-seconds, dry-run) is left out.
std::string write_config(const RunConfig& config, const OptionCatalogue& catalogue);
// The text of --help where the arguments ask for it: a few general options and the tasks; with
// --task or --update all of theirs; `--help all`: everything.
std::optional<std::string> train_help(const std::vector<std::string>& arguments,
                                      const OptionCatalogue& catalogue);

// Everything that can be checked without reading data: ranges, combinations that exclude each other,
// and what the task and the optimiser ask for. `sources` puts into the error where a value came from.
void validate_config(const RunConfig& config, const OptionCatalogue& catalogue,
                     const OptionSources& sources = {});
// --resume: the run goes on with its own config; only what cannot change its results may differ
// (Option::changeable). Any other option that is given with another value is a ConfigError. Other
// planned generations leave spans in percent where they were: they become the number of generations
// that they stood for.
RunConfig config_for_resume(const RunConfig& saved, const ParsedConfig& given,
                            const OptionCatalogue& catalogue);

}  // namespace eggroll
