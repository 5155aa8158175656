// The rows of a run's options, for the config*.cpp alone: the general ones, each with its place in the
// help, its field in RunConfig and what that may hold, and those of tasks and optimisers beside them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/run_config.hpp"

namespace eggroll {

inline constexpr OptionGroup kOptionGroups[] = {OptionGroup::data,       OptionGroup::model,
                                                OptionGroup::population, OptionGroup::learning,
                                                OptionGroup::machine,    OptionGroup::records};
const char* question_of(OptionGroup group);

// The rows of one run, bound to a config of their own.
class RunOptions {
 public:
  // With the values of this config; what its texts leave out has the default of the task or optimiser.
  // Throws OptionError where there is no such task or optimiser, or a text is not allowed.
  RunOptions(const OptionCatalogue& catalogue, const RunConfig& config);
  RunOptions(const RunOptions&) = delete;
  RunOptions& operator=(const RunOptions&) = delete;

  RunConfig config() const;
  // In the order of the help: by question, general ones first, then the task's, then the optimiser's.
  std::vector<Option*> rows();
  // nullptr where there is none.
  Option* find(std::string_view name);

 private:
  RunConfig config_;
  Options general_, of_task_, of_update_;
  std::shared_ptr<void> task_settings_, update_settings_;
};

// All rows there are, whatever the run, with their defaults.
class AllOptions {
 public:
  struct Chapter {
    std::string kind;  // general: empty; task, update
    std::string name;
    std::string help;
    Options options;
    std::shared_ptr<void> settings;
  };

  explicit AllOptions(const OptionCatalogue& catalogue);
  AllOptions(const AllOptions&) = delete;
  AllOptions& operator=(const AllOptions&) = delete;

  // The general chapter first, then tasks, then updates.
  const std::vector<Chapter>& chapters() const { return chapters_; }
  // Where a row of this name is.
  std::vector<const Chapter*> chapters_with(std::string_view name) const;
  // `config` and `help`, which are of the command line alone.
  const Options& of_command_line() const { return of_command_line_; }
  // One row of each name.
  std::vector<const Option*> rows() const;

 private:
  RunConfig config_;
  std::string file_;
  bool help_ = false;
  Options of_command_line_;
  std::vector<Chapter> chapters_;
};

// Throws OptionError for the option `kind` where there is none.
const OptionChapter& chapter_of(const std::vector<OptionChapter>& chapters, const std::string& kind,
                                const std::string& name);

}  // namespace eggroll
