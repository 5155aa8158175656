// Command lines from rows of options, by Boost.Program_options: long names only, written out in
// full, each once, nothing left over. What does not fit is a ConfigError of one line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/options.hpp"

namespace eggroll {

inline constexpr const char* kCommandLine = "command line";  // as a source of values

struct NamedValue {
  std::string name;
  std::string value;  // of a flag "true"
};

// In their order. rows: of all options there are, no name twice. command: of eggroll, for the errors.
std::vector<NamedValue> read_command_line(const std::string& command,
                                          const std::vector<std::string>& arguments,
                                          const std::vector<const Option*>& rows);

// The options of a command without a config, from their rows into their fields. False where the
// arguments hold --help, which has then been printed under `title`.
bool parse_command(const std::string& command, const std::string& title, Options& options,
                   const std::vector<std::string>& arguments);

// The value of --NAME VALUE or --NAME=VALUE, the first there is; empty where there is none. Nothing is
// checked: for what must be known before the rows are.
std::string value_among(const std::vector<std::string>& arguments, std::string_view name);
bool asks_for_help(const std::vector<std::string>& arguments);

// The rows with their help and their present values as defaults, at most 100 columns wide.
std::string described(const std::string& title, const std::vector<const Option*>& rows);

// "name (source): there is no such option; is names meant?"
[[noreturn]] void refuse_unknown(const std::string& command, std::string_view name,
                                 std::string_view source, const std::vector<const Option*>& rows);

}  // namespace eggroll
