#include "common/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "common/command_line.hpp"
#include "common/config_file.hpp"
#include "common/config_options.hpp"
#include "common/noise.hpp"
#include "common/rule_names.hpp"

namespace eggroll {
namespace {

// Files that were written when it was an option of every run hold it beside `update = threshold`.
constexpr const char* kOnceGeneral = "threshold-factor";

const OptionSetting* last_of(const std::vector<OptionSetting>& settings, std::string_view name) {
  const OptionSetting* last = nullptr;
  for (const OptionSetting& setting : settings)
    if (setting.name == name) last = &setting;
  return last;
}

// An option of an optimiser in the file, where the command line names another: it goes with what it
// belongs to.
bool is_replaced(const OptionSetting& setting, const std::vector<OptionSetting>& settings,
                 const AllOptions& all) {
  const OptionSetting* chosen = last_of(settings, "update");
  if (!setting.is_from_file || chosen == nullptr) return false;
  if (setting.name == kOnceGeneral && chosen->value == "threshold") return true;
  const auto first = std::ranges::find(settings, "update", &OptionSetting::name);
  const bool is_another =
      !chosen->is_from_file && (&*first == chosen || first->value != chosen->value);
  return is_another && all.chapters_with(setting.name).front()->kind == "update";
}

[[noreturn]] void refuse_foreign(const OptionSetting& setting, const RunConfig& run,
                                 const AllOptions& all) {
  std::string owners;
  bool is_of_task = false;
  for (const AllOptions::Chapter* chapter : all.chapters_with(setting.name)) {
    owners += fmt::format("{}{} {}", owners.empty() ? "" : ", ", chapter->kind, chapter->name);
    is_of_task |= chapter->kind == "task";
  }
  throw ConfigError(fmt::format("{} ({}): an option of {}; {} = {} has none of that name",
                                shown(setting.name), shown(setting.source), owners,
                                is_of_task ? "task" : "update",
                                is_of_task ? run.task : run.update));
}

// Where each is an option of something, and may stand where it does.
void check_names(const std::vector<OptionSetting>& settings, const AllOptions& all) {
  for (const auto& [name, value, source, is_from_file] : settings) {
    const auto chapters = all.chapters_with(name);
    if (is_from_file && (name == "config" || name == "help" ||
                         (!chapters.empty() && !chapters[0]->options.find(name)->is_of_run)))
      throw ConfigError(fmt::format("{} ({}): belongs on the command line", name, source));
    if (chapters.empty()) refuse_unknown("train", name, source, all.rows());
  }
}

void set(Option& row, const OptionSetting& setting) {
  if (!row.set(setting.value))
    throw OptionError(setting.name, setting.value, row.allowed, setting.source);
}

// Task, then optimiser, then all values over their defaults.
RunConfig config_of(const std::vector<OptionSetting>& settings, const OptionCatalogue& catalogue,
                    const AllOptions& all) {
  const auto chosen = [&](const char* kind, const std::vector<OptionChapter>& chapters,
                          std::optional<std::string> otherwise) {
    const OptionSetting* setting = last_of(settings, kind);
    if (setting == nullptr) return otherwise;
    try {
      return std::optional(chapter_of(chapters, kind, setting->value).name);
    } catch (const OptionError& error) {
      throw error.from(setting->source);
    }
  };
  const std::string task = *chosen("task", catalogue.tasks, RunConfig{}.task);
  RunOptions run(catalogue, default_config(catalogue, task,
                                           chosen("update", catalogue.updates, std::nullopt)));
  for (const OptionSetting& setting : settings) {
    if (Option* row = run.find(setting.name)) {
      set(*row, setting);
    } else if (!is_replaced(setting, settings, all)) {
      refuse_foreign(setting, run.config(), all);
    }
  }
  return run.config();
}

// The source of each value, also of those that nobody gave.
OptionSources all_sources(RunOptions& run, const OptionCatalogue& catalogue,
                          const OptionSources& given) {
  const RunConfig config = run.config();
  RunOptions standard(catalogue, default_config(catalogue, config.task, config.update));
  OptionSources sources = given;
  for (const Option* row : run.rows())
    if (!given.contains(row->name) && row->text() == standard.find(row->name)->text())
      sources[row->name] = "default";
  return sources;
}

// Of general options alone.
void check_general(const RunConfig& c) {
  const auto refuse = [](const char* name, auto value, const std::string& what) {
    if constexpr (std::is_enum_v<decltype(value)>)
      throw OptionError(name, std::string(name_in_options(value)), what);
    else
      throw OptionError(name, fmt::format("{}", value), what);
  };
  if (c.population % c.group_size != 0)
    refuse("group-size", c.group_size,
           fmt::format("allowed are even numbers that divide population = {}", c.population));
  if (c.fitness_encoding == FitnessEncoding::ternary && c.fitness != FitnessRule::sign)
    refuse("fitness-encoding", c.fitness_encoding, "ternary is allowed with fitness = sign only");
  if (c.sampling == Sampling::independent && compares_pairs(c.fitness))
    refuse("fitness", c.fitness,
           "it compares the members of a pair, which have nothing in common with sampling = "
           "independent; allowed there are raw, z-score, centred-rank, group");
  if (c.all_reduce == AllReduce::nccl && c.device == DeviceChoice::cpu)
    refuse("all-reduce", c.all_reduce,
           "nccl adds up in the memory of GPUs; allowed with device = cpu are auto, mpi");
  // An element of the sum over members, d A B with noise_rank terms each, fits 64 bits.
  const double of_rank_1 =
      static_cast<double>(c.population) * largest_utility(c.fitness) * kNoiseMax * kNoiseMax;
  if (of_rank_1 * c.noise_rank >= 0x1p63)
    refuse(
        "noise-rank", c.noise_rank,
        fmt::format("with population = {} and fitness = {} the sum of perturbations may need more "
                    "than 64 bits; allowed are up to {:.0f}",
                    c.population, name_in_options(c.fitness), std::ceil(0x1p63 / of_rank_1) - 1));
}

}  // namespace

RunConfig default_config(const OptionCatalogue& catalogue, std::string_view task,
                         std::optional<std::string> update) {
  RunConfig config;
  config.task = task;
  const OptionChapter& chapter = chapter_of(catalogue.tasks, "task", config.task);
  for (const auto& [name, value] : chapter.defaults)
    if (name == "update") config.update = value;
  const bool is_own = !update || *update == config.update;
  if (update) config.update = *update;
  RunOptions run(catalogue, config);
  const OptionTexts of_update = run.config().of_update;
  for (const auto& [name, value] : chapter.defaults) {
    Option* row = run.find(name);
    if (name == "update" || (!is_own && (row == nullptr || of_update.contains(name)))) continue;
    require(row != nullptr && row->set(value), "a task's defaults are values of rows");
  }
  return run.config();
}

ParsedConfig parse_train_config(const std::vector<std::string>& arguments,
                                const OptionCatalogue& catalogue) {
  const AllOptions all(catalogue);
  ParsedConfig parsed;
  std::vector<OptionSetting> own;
  for (auto& [name, value] : read_command_line("train", arguments, all.rows())) {
    if (name == "help") continue;
    if (name != "config") {
      own.push_back({name, value, kCommandLine});
      continue;
    }
    if (value.empty()) throw OptionError("config", "", "allowed is a path", kCommandLine);
    parsed.settings = read_config_lines(read_config_file(value), value);
  }
  check_names(parsed.settings, all);
  parsed.settings.insert(parsed.settings.end(), own.begin(), own.end());
  for (const OptionSetting& setting : parsed.settings) parsed.given[setting.name] = setting.source;

  if (parsed.given.contains("resume")) {
    RunOptions run(catalogue, default_config(catalogue));
    const Options& general = all.chapters()[0].options;
    for (const OptionSetting& setting : parsed.settings) {
      const bool is_chapter = setting.name == "task" || setting.name == "update";
      if (general.find(setting.name) && !is_chapter) set(*run.find(setting.name), setting);
    }
    parsed.config = run.config();
  } else {
    parsed.config = config_of(parsed.settings, catalogue, all);
  }

  // A file may still name the init that the run to resume began with; config_for_resume compares.
  if (parsed.given.contains("resume") && parsed.given.contains("init") &&
      parsed.given["init"] == kCommandLine)
    throw OptionError("init", parsed.config.init,
                      "excluded by resume, which goes on with the parameters of the run",
                      kCommandLine);
  if (parsed.given.contains("resume") && parsed.given.contains("auto-resume"))
    throw OptionError("auto-resume", "true", "excluded by resume, which names what to go on with",
                      kCommandLine);
  return parsed;
}

RunConfig parse_config_text(const std::string& text, const std::string& source,
                            const OptionCatalogue& catalogue) {
  const AllOptions all(catalogue);
  const std::vector<OptionSetting> settings = read_config_lines(text, source);
  check_names(settings, all);
  return config_of(settings, catalogue, all);
}

std::string write_config(const RunConfig& config, const OptionCatalogue& catalogue) {
  RunOptions run(catalogue, config);
  std::string text =
      "# A run of eggroll, complete. Again: eggroll train --config THIS_FILE --run ANOTHER_DIR\n";
  std::optional<OptionGroup> group;
  for (const Option* row : run.rows()) {
    if (!row->is_of_run) continue;
    if (group != row->group) text += fmt::format("\n# {}\n", question_of(row->group));
    group = row->group;
    const std::string value = row->text();
    text += fmt::format("\n# {}\n", row->help);
    text += value.empty() ? fmt::format("# {} =\n", row->name)
                          : fmt::format("{} = {}\n", row->name, quoted_where_needed(value));
  }
  return text;
}

void validate_config(const RunConfig& config, const OptionCatalogue& catalogue,
                     const OptionSources& sources) {
  OptionSources known = sources;
  try {
    RunOptions run(catalogue, config);
    known = all_sources(run, catalogue, sources);
    for (Option* row : run.rows())
      if (const std::string text = row->text(); !text.empty() && !row->set(text))
        throw OptionError(row->name, text, row->allowed);
    check_general(config);
    for (const OptionChapter* chapter : {&chapter_of(catalogue.tasks, "task", config.task),
                                         &chapter_of(catalogue.updates, "update", config.update)})
      if (chapter->check) chapter->check(config);
  } catch (const OptionError& error) {
    const auto source = known.find(error.name);
    if (source == known.end()) throw;
    throw error.from(source->second);
  }
}

RunConfig config_for_resume(const RunConfig& saved, const ParsedConfig& given,
                            const OptionCatalogue& catalogue) {
  const AllOptions all(catalogue);
  RunOptions run(catalogue, saved);
  const auto take = [&](const OptionSetting& setting) {
    Option* row = run.find(setting.name);
    if (row == nullptr) {
      if (is_replaced(setting, given.settings, all)) return;
      refuse_foreign(setting, saved, all);
    }
    const std::string before = row->text();
    set(*row, setting);
    if (row->may_change_on_resume || !row->is_of_run || row->text() == before) return;
    std::string may_change;
    for (const Option* other : run.rows())
      if (other->may_change_on_resume) may_change += (may_change.empty() ? "" : ", ") + other->name;
    throw OptionError(setting.name, row->text(),
                      fmt::format("the run to resume has {}; what may change is {}",
                                  before.empty() ? "none" : shown(before), may_change),
                      setting.source);
  };
  // Of a task or optimiser that is another one no option fits.
  for (const char* name : {"task", "update"})
    if (const OptionSetting* setting = last_of(given.settings, name)) take(*setting);
  for (const OptionSetting& setting : given.settings)
    if (&setting == last_of(given.settings, setting.name)) take(setting);

  RunConfig config = run.config();
  if (config.generations != saved.generations) {
    for (const Option* row : run.rows())
      if (row->pin) row->pin(saved.generations);
    config = run.config();
  }
  return config;
}

}  // namespace eggroll
