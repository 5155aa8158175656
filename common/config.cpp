#include "common/config.hpp"

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>

#include "common/check.hpp"
#include "common/config_options.hpp"

namespace eggroll {
namespace {

namespace po = boost::program_options;

constexpr size_t kHelpColumns = 100;
constexpr uintmax_t kMaxConfigBytes = 1 << 20;
constexpr size_t kMaxWords = 1000;
const char* const kCommandLine = "command line";

// What a person or a file wrote, before it has a type.
struct Setting {
  std::string name;
  std::string value;
  std::string source;
};

// Text from outside as part of a message of one line.
std::string shown(std::string_view text) {
  constexpr size_t kMostShown = 80;
  std::string line(text.substr(0, kMostShown));
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  return text.size() > kMostShown ? line + "..." : line;
}

std::string shown_or_quotes(std::string_view text) { return text.empty() ? "''" : shown(text); }

[[noreturn]] void refuse(std::string_view name, std::string_view value, std::string_view source,
                         std::string_view what) {
  throw ConfigError(fmt::format("{} = {}{}{}: {}", shown(name), shown_or_quotes(value),
                                source.empty() ? "" : " ",
                                source.empty() ? "" : fmt::format("({})", shown(source)), what));
}

[[noreturn]] void refuse_unknown(std::string_view name, std::string_view source) {
  const std::optional<std::string> similar = similar_option(name);
  throw ConfigError(fmt::format(
      "{} ({}): there is no such option; {}", shown_or_quotes(name), shown(source),
      similar ? fmt::format("is {} meant?", *similar) : "eggroll train --help lists them"));
}

// Command line.

// Boost's description of the table: parses the command line and prints the help.
po::options_description describe_options() {
  po::options_description all("", kHelpColumns, kHelpColumns * 3 / 5);
  for (OptionGroup group : kOptionGroups) {
    po::options_description part(question_of(group), kHelpColumns, kHelpColumns * 3 / 5);
    if (group == OptionGroup::machine) {
      part.add_options()("config", po::value<std::string>()->value_name("FILE"),
                         "options from a file, one `name = value` a line; the command line wins");
      part.add_options()("help", "print this and stop");
    }
    for (const RunOption& option : run_options()) {
      if (option.group != group) continue;
      if (option.value_name.empty()) {
        part.add_options()(option.name.c_str(), option.help.c_str());
        continue;
      }
      auto* value = po::value<std::string>()->value_name(option.value_name);
      const std::string standard = option_text(RunConfig{}, option);
      if (!standard.empty()) value->default_value(standard);
      part.add_options()(option.name.c_str(), value, option.help.c_str());
    }
    all.add(part);
  }
  return all;
}

// population of --population=64.
std::string bare_name(const std::string& token) {
  const size_t first = std::min(token.find_first_not_of('-'), token.size());
  return token.substr(first, token.find('=') - first);
}

std::vector<Setting> read_command_line(const std::vector<std::string>& arguments) {
  // Boost takes time in the square of their number: a * too many would look like a hang.
  if (arguments.size() > kMaxWords)
    throw ConfigError(fmt::format("{}: {} words; options, each once, are fewer than {}",
                                  kCommandLine, arguments.size(), kMaxWords));
  static const po::options_description described = describe_options();
  std::vector<Setting> settings;
  try {
    // Long names only, written out; no single dash, no abbreviation.
    const int style = po::command_line_style::allow_long |
                      po::command_line_style::long_allow_adjacent |
                      po::command_line_style::long_allow_next;
    const po::parsed_options parsed =
        po::command_line_parser(arguments).options(described).style(style).run();
    for (const po::option& option : parsed.options) {
      if (option.string_key.empty())
        throw ConfigError(fmt::format(
            "{} ({}): not an option; options begin with --, eggroll train --help lists "
            "them",
            shown_or_quotes(option.value.empty() ? "" : option.value.front()), kCommandLine));
      for (const Setting& before : settings)
        if (before.name == option.string_key)
          throw ConfigError(
              fmt::format("{} ({}): given more than once", option.string_key, kCommandLine));
      std::string value = option.value.empty() ? "true" : option.value.front();
      if (value.starts_with("--"))
        refuse(option.string_key, value, kCommandLine,
               "a value was expected, not an option (a path can begin with ./--)");
      settings.push_back({option.string_key, std::move(value), kCommandLine});
    }
  } catch (const po::unknown_option& error) {
    refuse_unknown(bare_name(error.get_option_name()), kCommandLine);
  } catch (const po::invalid_command_line_syntax& error) {
    const bool is_flag = error.kind() == po::invalid_syntax::extra_parameter;
    throw ConfigError(fmt::format("{} ({}): {}", shown(bare_name(error.get_option_name())),
                                  kCommandLine, is_flag ? "takes no value" : "a value is missing"));
  } catch (const po::error& error) {
    throw ConfigError(fmt::format("{}: {}", kCommandLine, shown(error.what())));
  }
  return settings;
}

// Config file. Read here and not by Boost, which cuts every value at a #, reads sections as
// prefixes of names, and knows no line numbers.

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
  refuse(name, text, source, "a value in quotes ends with them; inside, write \\\" and \\\\");
}

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

std::vector<Setting> read_config_lines(const std::string& text, const std::string& file) {
  std::vector<Setting> settings;
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
    settings.push_back({name, read_value(name, trimmed(line.substr(equals + 1)), source), source});
  }
  return settings;
}

void apply(const Setting& setting, RunConfig& config, OptionSources& given) {
  const RunOption* option = find_option(setting.name);
  if (option == nullptr) refuse_unknown(setting.name, setting.source);
  if (!set_option(config, *option, setting.value) || !option->is_allowed(config))
    refuse(setting.name, setting.value, setting.source, option->allowed);
  given[setting.name] = setting.source;
}

void apply_config_lines(const std::string& text, const std::string& file, RunConfig& config,
                        OptionSources& given) {
  for (const Setting& setting : read_config_lines(text, file)) {
    const RunOption* option = find_option(setting.name);
    if (setting.name == "config" || setting.name == "help" || (option && !option->is_of_run))
      throw ConfigError(
          fmt::format("{} ({}): belongs on the command line", setting.name, setting.source));
    apply(setting, config, given);
  }
}

std::string read_config_file(const std::string& path) {
  std::error_code error;
  const uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error)
    refuse("config", path, kCommandLine, fmt::format("cannot be read: {}", error.message()));
  if (bytes > kMaxConfigBytes)
    refuse("config", path, kCommandLine, "larger than 1 MiB, so not a config file");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (bytes > 0 && !(text << file.rdbuf()))
    refuse("config", path, kCommandLine, fmt::format("cannot be read: {}", std::strerror(errno)));
  return text.str();
}

// Checks of values against each other.

// The smallest share alpha_t of the run: 1 / ((2^a - 1) t / decay + 1) at its last generation.
double last_alpha(const RunConfig& config) {
  if (config.alpha <= 1) return config.alpha;
  const double decay = config.alpha_decay.generations(config.generations);
  const double t = static_cast<double>(config.generations - 1);
  return 1 / ((std::exp2(config.alpha) - 1) * t / decay + 1);
}

// The largest threshold of the sigma-delta rule, c / sqrt(alpha_t) * 256 * sqrt(r sum d^2).
double last_threshold(const RunConfig& config) {
  const double largest_d = config.fitness == FitnessRule::levels ? 2 : 1;
  return config.threshold_factor / std::sqrt(last_alpha(config)) * 256 * largest_d *
         std::sqrt(static_cast<double>(config.pairs()) * config.noise_rank);
}

}  // namespace

ParsedConfig parse_train_config(const std::vector<std::string>& arguments) {
  const std::vector<Setting> settings = read_command_line(arguments);
  ParsedConfig parsed;
  for (const Setting& setting : settings)
    if (setting.name == "help") {
      parsed.help = true;
      return parsed;
    }
  for (const Setting& setting : settings)
    if (setting.name == "config") {
      if (setting.value.empty()) refuse("config", "", kCommandLine, "allowed is a path");
      apply_config_lines(read_config_file(setting.value), setting.value, parsed.config,
                         parsed.given);
    }
  for (const Setting& setting : settings)
    if (setting.name != "config") apply(setting, parsed.config, parsed.given);

  // A file may still name the init that the run to resume began with; config_for_resume compares.
  if (parsed.given.contains("resume") && parsed.given.contains("init") &&
      parsed.given["init"] == kCommandLine)
    refuse("init", parsed.config.init, kCommandLine,
           "excluded by resume, which goes on with the parameters of the run");
  if (parsed.given.contains("resume") && parsed.given.contains("auto-resume"))
    refuse("auto-resume", "true", kCommandLine,
           "excluded by resume, which names what to go on with");
  return parsed;
}

RunConfig parse_config_text(const std::string& text, const std::string& source) {
  RunConfig config;
  OptionSources given;
  apply_config_lines(text, source, config, given);
  return config;
}

std::string write_config(const RunConfig& config) {
  std::string text =
      "# A run of eggroll, complete. Again: eggroll train --config THIS_FILE --run ANOTHER_DIR\n";
  for (OptionGroup group : kOptionGroups) {
    text += fmt::format("\n# {}\n", question_of(group));
    for (const RunOption& option : run_options()) {
      if (option.group != group || !option.is_of_run) continue;
      const std::string value = option_text(config, option);
      text += fmt::format("\n# {}\n", option.help);
      text += value.empty() ? fmt::format("# {} =\n", option.name)
                            : fmt::format("{} = {}\n", option.name, quoted_where_needed(value));
    }
  }
  return text;
}

std::string train_help() {
  std::ostringstream described;
  described << describe_options();
  std::string text =
      "Trains a model by evolution strategies with low-rank perturbations, on one process or on "
      "many\n"
      "MPI ranks. Each option can also stand in a file, as `name = value`.\n\n"
      "  eggroll train --data PATH [--run DIR] [--config FILE] [options]\n"
      "  eggroll train --data PATH --run DIR --auto-resume [options]\n"
      "  eggroll train --resume DIR [options]\n";
  // Boost ends each question with a colon, and wrapped lines with blanks.
  std::istringstream lines(described.str());
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with("?:")) line.pop_back();
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

void validate_config(const RunConfig& config, const OptionSources& sources) {
  const auto source_of = [&](const RunOption& option) -> std::string {
    const auto found = sources.find(option.name);
    if (found != sources.end()) return found->second;
    return same_value(config, RunConfig{}, option) ? "default" : "";
  };
  const auto refuse_option = [&](const char* name, const std::string& what) {
    const RunOption& option = *find_option(name);
    refuse(name, option_text(config, option), source_of(option), what);
  };

  for (const RunOption& option : run_options())
    if (!option.is_allowed(config)) refuse_option(option.name.c_str(), option.allowed);

  if (config.data.empty() && config.resume.empty())
    refuse_option("data", "needed is a file or a folder of text, as in --data corpus.txt");
  if (config.population % config.group_size != 0)
    refuse_option("group-size", fmt::format("allowed are even numbers that divide population = {}",
                                            config.population));
  if (config.fitness_encoding == FitnessEncoding::ternary && config.fitness != FitnessRule::sign)
    refuse_option("fitness-encoding", "ternary is allowed with fitness = sign only");
  if (config.schedule == TileSchedule::dynamic && config.carry != Carry::reset)
    refuse_option("schedule",
                  "dynamic is allowed with carry = reset only: states that members carry stay with "
                  "the rank that holds them");
  if (config.all_reduce == AllReduce::nccl && config.device == DeviceChoice::cpu)
    refuse_option("all-reduce",
                  "nccl adds up in the memory of GPUs; allowed with device = cpu are "
                  "auto, mpi");
  if (config.step == StepMode::sharded && config.survive &&
      config.update == UpdateRule::sigma_delta)
    refuse_option(
        "step",
        "sharded is not allowed with survive = true and update = sigma-delta: what a lost "
        "rank has gathered for its shard would be lost with it");
  // What a weight has gathered below its threshold rests in an int32, with room to add to it.
  if (config.update == UpdateRule::sigma_delta && last_threshold(config) > kLargestThreshold)
    refuse_option("threshold-factor",
                  fmt::format("with this population, noise-rank and alpha the threshold grows to "
                              "{:.3g}, allowed is up to 2^30; take a smaller factor",
                              last_threshold(config)));
}

RunConfig config_for_resume(const RunConfig& saved, const ParsedConfig& given) {
  RunConfig config = saved;
  for (const auto& [name, source] : given.given) {
    const RunOption& option = *find_option(name);
    if (option.may_change_on_resume || !option.is_of_run) {
      copy_value(config, given.config, option);
    } else if (!same_value(saved, given.config, option)) {
      std::string may_change;
      for (const RunOption& other : run_options())
        if (other.may_change_on_resume) may_change += (may_change.empty() ? "" : ", ") + other.name;
      const std::string now = option_text(saved, option);
      refuse(name, option_text(given.config, option), source,
             fmt::format("the run to resume has {}; what may change is {}",
                         now.empty() ? "none" : shown(now), may_change));
    }
  }
  if (!given.given.contains("run") && !config.resume.empty()) {
    const std::filesystem::path from = config.resume;
    const std::filesystem::path folder = from.extension() == ".h5" ? from.parent_path() : from;
    config.run = folder.empty() ? "." : folder.string();
  }
  if (config.alpha_decay.is_percent && config.generations != saved.generations)
    config.alpha_decay = {saved.alpha_decay.generations(saved.generations), false};
  return config;
}

}  // namespace eggroll
