// The text of a config.ini, for config.cpp alone. Lines are `name = value`, blank, or comments; a #
// that begins a comment stands at the start of a line or after a blank. A value that holds # or
// begins with a blank stands in quotes. Read here and not by Boost, which cuts every value at a #,
// reads sections as prefixes of names, and knows no line numbers.
#pragma once

#include <string>
#include <vector>

#include "common/run_config.hpp"

namespace eggroll {

// file: names the text in errors and sources.
std::vector<OptionSetting> read_config_lines(const std::string& text, const std::string& file);

// A value as it stands after `name = `.
std::string quoted_where_needed(const std::string& value);

// The content of the file that --config names, without the byte order mark of an editor.
std::string read_config_file(const std::string& path);

}  // namespace eggroll
