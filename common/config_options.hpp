// The table of a run's options, for config.cpp alone: each name once, with its place in the help,
// its field in RunConfig and what that may hold.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/config.hpp"

namespace eggroll {

// The questions under which --help and config.ini list the options.
enum class OptionGroup { data, model, population, learning, machine, records };
inline constexpr OptionGroup kOptionGroups[] = {OptionGroup::data,       OptionGroup::model,
                                                OptionGroup::population, OptionGroup::learning,
                                                OptionGroup::machine,    OptionGroup::records};
const char* question_of(OptionGroup group);

using OptionField =
    std::variant<bool RunConfig::*, int RunConfig::*, uint32_t RunConfig::*, uint64_t RunConfig::*,
                 double RunConfig::*, std::string RunConfig::*, Schedule RunConfig::*,
                 Rounding RunConfig::*, Carry RunConfig::*, FitnessRule RunConfig::*,
                 FitnessEncoding RunConfig::*, UpdateRule RunConfig::*,
                 OnStorageFailure RunConfig::*, TileSchedule RunConfig::*,
                 DeviceChoice RunConfig::*, AllReduce RunConfig::*, StepMode RunConfig::*>;

struct RunOption {
  std::string name;
  OptionGroup group;
  OptionField field;
  std::string value_name;  // in the help: N, PATH, nearest|floor; empty: a flag without value
  std::string help;        // one line
  std::string allowed;     // "allowed are even numbers from 2 to 4294967296"
  bool (*is_allowed)(const RunConfig&);
  bool is_of_run = true;  // false: of one invocation; only on the command line, not in config.ini
  bool may_change_on_resume = false;
};

// In the order of the help, groups together.
const std::vector<RunOption>& run_options();
// nullptr where there is none.
const RunOption* find_option(std::string_view name);
// The option a person may have meant, if one is close.
std::optional<std::string> similar_option(std::string_view name);

// The field from text, all of it; false where the text is no value of the field's type. Whether
// the value is_allowed is another question.
bool set_option(RunConfig& config, const RunOption& option, std::string_view text);
// The text that set_option reads back; numbers as short as they can be.
std::string option_text(const RunConfig& config, const RunOption& option);
bool same_value(const RunConfig& a, const RunConfig& b, const RunOption& option);
void copy_value(RunConfig& to, const RunConfig& from, const RunOption& option);

}  // namespace eggroll
