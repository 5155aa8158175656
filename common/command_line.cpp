#include "common/command_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include "common/output.hpp"

namespace eggroll {
namespace {

namespace po = boost::program_options;

constexpr unsigned kHelpColumns = 100;
constexpr size_t kMaxWords = 1000;

po::options_description as_boost(const std::vector<const Option*>& rows) {
  po::options_description all(kHelpColumns, kHelpColumns * 3 / 5);
  for (const Option* row : rows) {
    if (row->value_name.empty()) {
      all.add_options()(row->name.c_str(), row->help.c_str());
      continue;
    }
    auto* value = po::value<std::string>()->value_name(row->value_name);
    const std::string standard = row->default_note.empty() ? row->text() : row->default_note;
    if (!standard.empty()) value->default_value(standard);
    all.add_options()(row->name.c_str(), value, row->help.c_str());
  }
  return all;
}

// population of --population=64.
std::string bare_name(const std::string& token) {
  const size_t first = std::min(token.find_first_not_of('-'), token.size());
  return token.substr(first, token.find('=') - first);
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j + 1] + 1, row[j] + 1});
    }
  }
  return row.back();
}

// The option a person may have meant, if one is close.
std::optional<std::string> similar_option(std::string_view name,
                                          const std::vector<const Option*>& rows) {
  if (name.empty() || name.size() > 40) return std::nullopt;
  // A third of its letters may be wrong; the beginning of a name counts as nearly right.
  size_t best = name.size() / 3 + 1;
  std::optional<std::string> nearest;
  for (const Option* row : rows) {
    size_t distance = edit_distance(name, row->name);
    if (name.size() >= 3 && row->name.starts_with(name)) distance = std::min(distance, size_t{1});
    if (distance < best || (distance == best && !nearest)) {
      best = distance;
      nearest = row->name;
    }
  }
  return nearest;
}

}  // namespace

void refuse_unknown(const std::string& command, std::string_view name, std::string_view source,
                    const std::vector<const Option*>& rows) {
  const std::optional<std::string> similar = similar_option(name, rows);
  throw ConfigError(fmt::format("{} ({}): there is no such option; {}", shown_or_quotes(name),
                                shown(source),
                                similar ? fmt::format("is {} meant?", *similar)
                                        : fmt::format("eggroll {} --help lists them", command)));
}

std::vector<NamedValue> read_command_line(const std::string& command,
                                          const std::vector<std::string>& arguments,
                                          const std::vector<const Option*>& rows) {
  // Boost takes time in the square of their number: a * too many would look like a hang.
  if (arguments.size() > kMaxWords)
    throw ConfigError(fmt::format("{}: {} words; options, each once, are fewer than {}",
                                  kCommandLine, arguments.size(), kMaxWords));
  const po::options_description options = as_boost(rows);
  std::vector<NamedValue> values;
  try {
    // Long names only, written out; no single dash, no abbreviation.
    const int style = po::command_line_style::allow_long |
                      po::command_line_style::long_allow_adjacent |
                      po::command_line_style::long_allow_next;
    const po::parsed_options parsed =
        po::command_line_parser(arguments).options(options).style(style).run();
    for (const po::option& option : parsed.options) {
      if (option.string_key.empty())
        throw ConfigError(fmt::format(
            "{} ({}): not an option; options begin with --, eggroll {} --help lists them",
            shown_or_quotes(option.value.empty() ? "" : option.value.front()), kCommandLine,
            command));
      for (const NamedValue& before : values)
        if (before.name == option.string_key)
          throw ConfigError(
              fmt::format("{} ({}): given more than once", option.string_key, kCommandLine));
      std::string value = option.value.empty() ? "true" : option.value.front();
      const bool is_next_word = option.original_tokens.size() > 1;
      if (is_next_word && value.starts_with("--"))
        throw OptionError(option.string_key, value,
                          fmt::format("a value was expected, not an option (one can begin with -- "
                                      "in --{}=VALUE)",
                                      option.string_key),
                          kCommandLine);
      values.push_back({option.string_key, std::move(value)});
    }
  } catch (const po::unknown_option& error) {
    refuse_unknown(command, bare_name(error.get_option_name()), kCommandLine, rows);
  } catch (const po::invalid_command_line_syntax& error) {
    const bool is_flag = error.kind() == po::invalid_syntax::extra_parameter;
    throw ConfigError(fmt::format("{} ({}): {}", shown(bare_name(error.get_option_name())),
                                  kCommandLine, is_flag ? "takes no value" : "a value is missing"));
  } catch (const po::error& error) {
    throw ConfigError(fmt::format("{}: {}", kCommandLine, shown(error.what())));
  }
  return values;
}

bool parse_command(const std::string& command, const std::string& title, Options& options,
                   const std::vector<std::string>& arguments) {
  bool wants_help = false;
  Options help;
  std::vector<const Option*> rows;
  for (const Option& row : options.rows()) rows.push_back(&row);
  rows.push_back(&help.flag("help", wants_help, "print this and stop"));
  if (asks_for_help(arguments)) {
    write_result(described(title, rows));
    return false;
  }
  const std::vector<NamedValue> values = read_command_line(command, arguments, rows);
  for (const auto& [name, value] : values)
    if (Option& row = *options.find(name); !row.set(value))
      throw OptionError(name, value, row.allowed, kCommandLine);
  for (const Option* row : rows)
    if (row->is_required && std::ranges::find(values, row->name, &NamedValue::name) == values.end())
      throw ConfigError(fmt::format("{}: --{} {} is missing; eggroll {} --help lists the options",
                                    command, row->name, row->value_name, command));
  return true;
}

std::string value_among(const std::vector<std::string>& arguments, std::string_view name) {
  const std::string option = fmt::format("--{}", name);
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with(option + "=")) return arguments[i].substr(option.size() + 1);
    if (arguments[i] == option && i + 1 < arguments.size()) return arguments[i + 1];
  }
  return "";
}

bool asks_for_help(const std::vector<std::string>& arguments) {
  return std::ranges::any_of(arguments, [](const std::string& word) {
    return word == "--help" || word.starts_with("--help=");
  });
}

std::string described(const std::string& title, const std::vector<const Option*>& rows) {
  std::ostringstream text;
  text << as_boost(rows);
  std::istringstream lines(text.str());
  std::string all = title + '\n';
  for (std::string line; std::getline(lines, line);)  // wrapped lines end with blanks
    all += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  return all;
}

}  // namespace eggroll
