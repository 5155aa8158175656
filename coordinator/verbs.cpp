#include "coordinator/verbs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/check.hpp"
#include "common/command_line.hpp"
#include "common/rule_names.hpp"
#include "coordinator/devices.hpp"
#include "coordinator/records/open_checkpoint.hpp"
#include "coordinator/thread_count.hpp"
#include "kernels/device.hpp"
#include "kernels/learner.hpp"
#include "worker/tasks.hpp"

namespace eggroll {
namespace {

struct VerbOfTask {
  const TaskType* task;
  const Verb* verb;
};

std::vector<VerbOfTask> verbs_named(const std::string& name) {
  std::vector<VerbOfTask> found;
  for (const TaskType& task : task_types())
    for (const Verb& verb : task.verbs)
      if (verb.name == name) found.push_back({&task, &verb});
  return found;
}

// The verb of the task whose checkpoint this is.
VerbOfTask verb_for(const std::string& name, const RunConfig& config, const std::string& path) {
  for (const VerbOfTask& candidate : verbs_named(name))
    if (candidate.task->name == config.task) return candidate;
  std::string has;
  for (const Verb& verb : task_type(config.task).verbs)
    (has += has.empty() ? "" : ", ") += verb.name;
  throw ConfigError(fmt::format("checkpoint = {}: of task {}, whose commands are {}{}", path,
                                config.task, has.empty() ? "" : has + ", ", "inspect"));
}

// The options of a verb, its own and those that all have.
struct VerbCommand {
  std::string checkpoint;
  DeviceChoice device = DeviceChoice::automatic;
  int threads = 1;
  std::function<int(Trained&)> job;
  Options options;

  explicit VerbCommand(const Verb& verb) {
    options
        .path("checkpoint", checkpoint, "PATH",
              "checkpoint, or run folder (its newest complete one)")
        .required();
    job = verb.prepare(options);
    if (verb.takes_threads) {
      threads = usable_cores();
      options.number("threads", threads, 1, 1024, "threads").default_is("usable cores");
    }
    options.choice("device", device, "what computes");
  }
  VerbCommand(const VerbCommand&) = delete;
};

// An option that is not this verb's, but that of another task's verb of the same name.
void refuse_options_of_others(const std::vector<VerbOfTask>& candidates, const VerbOfTask& verb,
                              const VerbCommand& command, const std::string& path,
                              const std::vector<std::string>& arguments) {
  for (const VerbOfTask& other : candidates) {
    if (other.verb == verb.verb) continue;
    VerbCommand of_other(*other.verb);
    for (const Option& row : of_other.options.rows()) {
      if (command.options.find(row.name) != nullptr) continue;
      const std::string option = "--" + row.name;
      for (const std::string& word : arguments)
        if (word == option || word.starts_with(option + "="))
          throw ConfigError(
              fmt::format("{} (command line): an option of task {}; checkpoint = {} is of task {}",
                          row.name, other.task->name, shown(path), verb.task->name));
    }
  }
}

std::string title_of(const VerbOfTask& verb) {
  return fmt::format("eggroll {}: {}", verb.verb->name, verb.verb->help);
}

int run(const VerbOfTask& verb, const VerbCommand& command, const CheckpointReader& reader,
        const RunConfig& config) {
  const ComputeDevice chosen = choose_device(device_for(*verb.task, command.device));
  const LearnerSettings settings = learner_settings(config);
  const std::vector<std::byte> parameters =
      parameters_for(reader, "checkpoint", command.checkpoint, settings.layout);
  const auto device = make_device(chosen.name, {.threads = command.threads, .index = chosen.index});
  const auto learner = device->make_learner(settings);
  learner->write(0, parameters);
  Trained trained{config, reader.header().generation, reader.header().data_digest, *device,
                  *learner};
  return command.job(trained);
}

}  // namespace

std::vector<VerbEntry> verbs() {
  std::vector<VerbEntry> all;
  for (const TaskType& task : task_types())
    for (const Verb& verb : task.verbs) {
      const auto known = std::ranges::find(all, verb.name, &VerbEntry::name);
      if (known == all.end())
        all.push_back({verb.name, verb.help, task.name});
      else
        known->tasks += fmt::format(", {}", task.name);
    }
  return all;
}

int verb_command(const std::string& name, const std::vector<std::string>& arguments) {
  const std::vector<VerbOfTask> candidates = verbs_named(name);
  if (candidates.empty()) throw ConfigError(fmt::format("{}: no task has this command", name));
  if (asks_for_help(arguments)) {
    for (const VerbOfTask& verb : candidates) {
      VerbCommand command(*verb.verb);
      parse_command(name, title_of(verb), command.options, arguments);
    }
    return 0;
  }
  // Where one task alone has it, options are read before the file is.
  std::optional<CheckpointReader> reader;
  RunConfig config;
  VerbOfTask verb = candidates.front();
  const std::string path = value_among(arguments, "checkpoint");
  const auto open = [&] {
    reader.emplace(open_checkpoint("checkpoint", path));
    config = config_in(*reader, path);
    verb = verb_for(name, config, path);
  };
  if (candidates.size() > 1) {
    if (path.empty())
      throw ConfigError(fmt::format(
          "{}: --checkpoint PATH is missing; eggroll {} --help lists the options", name, name));
    open();
  }
  VerbCommand command(*verb.verb);
  if (candidates.size() > 1) refuse_options_of_others(candidates, verb, command, path, arguments);
  parse_command(name, title_of(verb), command.options, arguments);
  if (!reader) open();
  return run(verb, command, *reader, config);
}

}  // namespace eggroll
