// The text of `eggroll train --help`.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/command_line.hpp"
#include "common/config.hpp"
#include "common/config_options.hpp"

namespace eggroll {
namespace {

constexpr const char* kTitle =
    "Trains a model by evolution strategies with low-rank perturbations, on one process or on "
    "many\nMPI ranks. Each option can also stand in a file, as `name = value`.\n"
    "\n"
    "  eggroll train --task lm --data PATH [--run DIR] [--config FILE] [options]\n"
    "  eggroll train --task lm --data PATH --run DIR --auto-resume [options]\n"
    "  eggroll train --resume DIR [options]\n";

std::string listed(const std::string& title, const std::vector<OptionChapter>& chapters) {
  std::string text = '\n' + title + '\n';
  for (const OptionChapter& chapter : chapters)
    text += fmt::format("  {:12} {}\n", chapter.name, chapter.help);
  return text;
}

// The rows by their questions.
std::string by_question(const std::vector<const Option*>& rows) {
  std::string text;
  for (const OptionGroup group : kOptionGroups) {
    std::vector<const Option*> here;
    std::ranges::copy_if(rows, std::back_inserter(here),
                         [&](const Option* row) { return row->group == group; });
    if (!here.empty()) text += '\n' + described(question_of(group), here);
  }
  return text;
}

std::string own_defaults(const OptionChapter& task) {
  if (task.defaults.empty()) return "";
  std::string text, line = "  Its own defaults:";
  for (const auto& [name, value] : task.defaults) {
    const std::string next =
        fmt::format(" {} = {}{}", name, value, &value == &task.defaults.back().second ? "" : ",");
    if (line.size() + next.size() > 100) text += std::exchange(line, "   ") + '\n';
    line += next;
  }
  return text + line + '\n';
}

std::string everything(const OptionCatalogue& catalogue, const AllOptions& all) {
  std::vector<const Option*> general;
  for (const Option& row : all.chapters()[0].options.rows()) general.push_back(&row);
  for (const Option& row : all.of_command_line().rows()) general.push_back(&row);
  std::string text = by_question(general);
  for (const AllOptions::Chapter& chapter : all.chapters()) {
    if (chapter.kind.empty()) continue;
    std::vector<const Option*> rows;
    for (const Option& row : chapter.options.rows()) rows.push_back(&row);
    text += '\n' +
            described(fmt::format("--{} {}: {}", chapter.kind, chapter.name, chapter.help), rows);
    if (chapter.kind == "task")
      text += own_defaults(chapter_of(catalogue.tasks, "task", chapter.name));
  }
  return text;
}

// The rows of the run that the arguments name, or the general ones among them; these only where they
// are basic.
std::string few(const std::vector<std::string>& arguments, const OptionCatalogue& catalogue,
                const AllOptions& all) {
  const std::string task = value_among(arguments, "task");
  const std::string update = value_among(arguments, "update");
  RunOptions run(catalogue, default_config(catalogue, task.empty() ? RunConfig{}.task : task,
                                           update.empty() ? std::nullopt : std::optional(update)));
  const RunConfig config = run.config();
  std::vector<const Option*> rows;
  for (const Option* row : run.rows()) {
    const bool is_asked_for =
        (!task.empty() && config.of_task.contains(row->name)) ||
        (!(task.empty() && update.empty()) && config.of_update.contains(row->name));
    if (row->is_basic || is_asked_for) rows.push_back(row);
  }
  for (const Option& row : all.of_command_line().rows()) rows.push_back(&row);
  return by_question(rows) + listed("Tasks", catalogue.tasks) +
         listed("Optimisers", catalogue.updates) +
         "\n  eggroll train --task NAME --help    with the options of a task and its optimiser\n"
         "  eggroll train --help all            all options of all of them\n";
}

}  // namespace

std::optional<std::string> train_help(const std::vector<std::string>& arguments,
                                      const OptionCatalogue& catalogue) {
  if (!asks_for_help(arguments)) return std::nullopt;
  const AllOptions all(catalogue);
  const bool is_all = value_among(arguments, "help") == "all";
  return kTitle + (is_all ? everything(catalogue, all) : few(arguments, catalogue, all));
}

}  // namespace eggroll
