#include "common/config_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>

#include "common/command_line.hpp"
#include "common/text_encoding.hpp"

namespace eggroll {
namespace {

constexpr uintmax_t kMaxConfigBytes = 1 << 20;

std::string_view trimmed(std::string_view text) {
  const char* blanks = " \t\r";
  const size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// The value of a line, without quotes and comment.
std::string read_value(std::string_view name, std::string_view text, const std::string& source) {
  if (!text.starts_with('"')) {
    for (size_t i = 0; i < text.size(); ++i)
      if (text[i] == '#' && (i == 0 || text[i - 1] == ' ' || text[i - 1] == '\t'))
        return std::string(trimmed(text.substr(0, i)));
    return std::string(text);
  }
  std::string value;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      const std::string_view rest = trimmed(text.substr(i + 1));
      if (!rest.empty() && !rest.starts_with('#')) break;
      return value;
    }
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    value += text[i];
  }
  throw OptionError(std::string(name), std::string(text),
                    "a value in quotes ends with them; inside, write \\\" and \\\\", source);
}

}  // namespace

std::string quoted_where_needed(const std::string& value) {
  const bool is_plain =
      value.find('#') == std::string::npos && !value.starts_with('"') && trimmed(value) == value;
  if (is_plain) return value;
  std::string quoted = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::vector<OptionSetting> read_config_lines(const std::string& text, const std::string& file) {
  std::vector<OptionSetting> settings;
  std::map<std::string, std::string> sources;  // name -> where it was given
  std::istringstream lines(text);
  std::string whole;
  for (int number = 1; std::getline(lines, whole); ++number) {
    const std::string_view line = trimmed(whole);
    if (line.empty() || line.starts_with('#')) continue;
    const std::string source = fmt::format("{} line {}", file, number);
    if (line.starts_with('['))
      throw ConfigError(fmt::format("{} ({}): a section; options stand in one list without them",
                                    shown(line), source));
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos)
      throw ConfigError(
          fmt::format("{} ({}): lines are `name = value` or # comments", shown(line), source));
    const std::string name(trimmed(line.substr(0, equals)));
    const auto [before, is_first] = sources.emplace(name, source);
    if (!is_first)
      throw ConfigError(
          fmt::format("{} ({}): given before ({})", shown(name), source, before->second));
    settings.push_back({name, read_value(name, trimmed(line.substr(equals + 1)), source), source,
                        /*is_from_file=*/true});
  }
  return settings;
}

std::string read_config_file(const std::string& path) {
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error)
    throw OptionError("config", path, fmt::format("cannot be read: {}", error.message()),
                      kCommandLine);
  if (bytes > kMaxConfigBytes)
    throw OptionError("config", path, "larger than 1 MiB, so not a config file", kCommandLine);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (bytes > 0 && !(text << file.rdbuf()))
    throw OptionError("config", path, fmt::format("cannot be read: {}", std::strerror(errno)),
                      kCommandLine);
  std::string content = text.str();
  if (const auto encoding = foreign_encoding(content); !encoding.empty())
    throw OptionError("config", path, fmt::format("is {} text; allowed is UTF-8", encoding),
                      kCommandLine);
  return content.erase(0, utf8_mark_bytes(content));
}

}  // namespace eggroll
