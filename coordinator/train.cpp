#include "coordinator/train.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <optional>

#include "common/check.hpp"
#include "common/exit_codes.hpp"
#include "common/messages/agreement.hpp"
#include "common/noise.hpp"
#include "common/output.hpp"
#include "common/partition.hpp"
#include "coordinator/build_id.hpp"
#include "coordinator/devices.hpp"
#include "coordinator/dry_run.hpp"
#include "coordinator/evaluation.hpp"
#include "coordinator/launcher.hpp"
#include "coordinator/records/open_checkpoint.hpp"
#include "coordinator/records/run_state.hpp"
#include "coordinator/records/snapshots.hpp"
#include "coordinator/records/storage.hpp"
#include "coordinator/run.hpp"
#include "coordinator/start.hpp"
#include "coordinator/stop_signal.hpp"
#include "coordinator/survivors.hpp"
#include "coordinator/thread_count.hpp"
#include "coordinator/version.hpp"
#include "worker/tasks.hpp"

namespace eggroll {
namespace {

constexpr const char* kNoMemory =
    "this rank has not the memory that the run needs; --dry-run says how much that is";

// Runs a preparation that may fail on some ranks only; if it does, every rank throws the same
// ConfigError.
template <typename Work>
void together(Collectives& group, Work&& work) {
  std::string error;
  try {
    work();
  } catch (const std::bad_alloc&) {
    error = kNoMemory;
  } catch (const std::exception& e) {
    error = e.what();
  }
  const std::optional<Failure> failure = first_failure(group, error, error.empty() ? 0 : 2);
  if (!failure) return;
  throw ConfigError(failure->rank == 0 ? failure->message
                                       : fmt::format("{} (rank {} on host {})", failure->message,
                                                     failure->rank, failure->host));
}

// --auto-resume: rank 0 looks whether there is something to go on with.
void choose_what_to_resume(RunConfig& config, Collectives& group) {
  bool goes_on = false;
  together(group, [&] { goes_on = group.rank() == 0 && holds_checkpoints(config); });
  group.broadcast(bytes_of(goes_on));
  if (goes_on) config.resume = config.run;
}

// What was given, of the task and the optimiser too, a line each.
std::string text_of(const std::vector<OptionSetting>& settings) {
  std::string text;
  for (const OptionSetting& setting : settings)
    text += fmt::format("{} = {}\n", setting.name, setting.value);
  return text;
}

// Every rank parses for itself, so that a file missing on one host is found; rank 0 decides what a
// resumed run goes on with.
RunConfig agree_on_config(const std::vector<std::string>& arguments, Collectives& group,
                          std::optional<CheckpointReader>& resumed_from) {
  ParsedConfig parsed;
  together(group, [&] {
    parsed = parse_train_config(arguments, option_catalogue());
    if (parsed.config.resume.empty())
      validate_config(parsed.config, option_catalogue(), parsed.given);
  });
  agree(group, {{"build", build_id()},
                {"resume", parsed.config.resume},
                {"auto-resume", parsed.config.auto_resume ? "yes" : "no"},
                {"dry-run", parsed.config.dry_run ? "yes" : "no"},
                {"survive", parsed.config.survive ? "yes" : "no"},
                {"max-seconds", std::to_string(parsed.config.max_seconds)},
                {"config", write_config(parsed.config, option_catalogue())},
                {"options", parsed.config.resume.empty() ? "" : text_of(parsed.settings)}});
  if (parsed.config.auto_resume) choose_what_to_resume(parsed.config, group);
  if (parsed.config.resume.empty()) return parsed.config;

  RunConfig config;
  std::string text;
  together(group, [&] {
    if (group.rank() != 0) return;
    resumed_from.emplace(
        open_checkpoint(parsed.config.auto_resume ? "run" : "resume", parsed.config.resume));
    if (!resumed_from->is_complete())
      throw ConfigError(
          fmt::format("resume = {}: the file holds parameters only; start from it with --init",
                      parsed.config.resume));
    if (resumed_from->header().noise_law != kNoiseLaw)
      throw ConfigError(fmt::format("resume = {}: its noise law is {}, this program's is {}",
                                    parsed.config.resume, resumed_from->header().noise_law,
                                    kNoiseLaw));
    config = config_for_resume(config_in(*resumed_from, parsed.config.resume), parsed,
                               option_catalogue());
    if (!parsed.given.contains("run")) config.run = folder_to_resume_in(parsed.config.resume);
    validate_config(config, option_catalogue(), parsed.given);
    if (resumed_from->header().generation > config.generations)
      throw ConfigError(fmt::format("generations = {}: {} has completed {}", config.generations,
                                    parsed.config.resume, resumed_from->header().generation));
    text = write_config(config, option_catalogue());
  });
  uint64_t size = text.size();
  group.broadcast(bytes_of(size));
  text.resize(size);
  group.broadcast(bytes_of(text));
  config = parse_config_text(text, "the resumed run", option_catalogue());
  config.dry_run = parsed.config.dry_run;
  config.survive = parsed.config.survive;
  config.max_seconds = parsed.config.max_seconds;
  config.resume = parsed.config.resume;
  config.auto_resume = parsed.config.auto_resume;
  return config;
}

// Whether the run that is to go on, in its own folder, has come to its end before; rank 0 then says so.
bool is_finished(const Run& run, Collectives& group) {
  const RunConfig& config = run.config;
  bool is_done = false;
  if (group.rank() == 0 && run.resumed_from &&
      run.resumed_from->header().generation == config.generations && goes_on_in_place(config) &&
      confirm_finished(config.run, config.generations)) {
    is_done = true;
    tell(stdout, fmt::format("the run is finished: {0} of {0} generations; run folder {1}; more of "
                             "them with: eggroll train --resume {1} --generations N\n",
                             config.generations, config.run));
  }
  group.broadcast(bytes_of(is_done));
  return is_done;
}

// Rank 0: whether the checkpoint is of these data and this model.
void check_resumed(const Run& run) {
  const CheckpointReader& reader = *run.resumed_from;
  const CheckpointHeader& header = reader.header();
  const RunConfig& config = run.config;
  if (header.data_digest != run.task->data_digest()) {
    const auto data = config.of_task.find("data");
    const bool is_option = data != config.of_task.end();
    throw ConfigError(fmt::format(
        "{} = {}: not the {} that {} was trained on (digest {}, there {})",
        is_option ? "data" : "task", is_option ? data->second : config.task,
        is_option ? "text" : "data", config.resume, run.task->data_digest(), header.data_digest));
  }
  if (!header.layout.empty() && header.layout != run.learner->layout().text())
    throw ConfigError(
        fmt::format("resume = {}: its layout is not that of its configuration", config.resume));
  const std::vector<SlotInfo> slots = slots_of(config.update);
  if (std::ranges::any_of(slots, [&](const SlotInfo& slot) {
        return std::ranges::find(header.slots, slot) == header.slots.end();
      }))
    throw ConfigError(fmt::format("resume = {}: holds nothing of what update = {} has gathered",
                                  config.resume, config.update));
  if (const CarriedStates* carried = run.task->carried()) {
    try {
      reader.expect_states(config.pairs() * carried->slots_per_pair(), carried->slot_shape());
    } catch (const Error& e) {
      throw ConfigError(
          fmt::format("resume = {}: {}", config.resume, without_path(e, reader.path())));
    }
  }
}

// What a person may want to know of going on with it here; mostly empty.
std::string remark_on_resumed(const Run& run) {
  if (!run.resumed_from) return "";
  const std::string& there = run.resumed_from->header().arithmetic;
  const std::string here = run.task->arithmetic();
  if (there.empty() || there == here) return "";
  return fmt::format(
      "fitness was computed by {} so far and is by {} here: results may differ from "
      "those that the run would have had there",
      there, here);
}

void say_what_begins(Run& run, Collectives& group, const std::string& remark) {
  const RunConfig& config = run.config;
  run.log->say(fmt::format(
      "{}: {} parameters, population {}, {} rank{}, {}{}; run folder {}{}", config.task,
      run.learner->layout().size(), config.population, group.size(), group.size() == 1 ? "" : "s",
      run.device->description(),
      takes_tiles(config, group.size(), carries_states(*run.task), run.device->works_in_bulk())
          ? ", tiles dynamic"
          : "",
      config.run,
      run.first_generation == 0
          ? ""
          : fmt::format(", resumed after generation {}", run.first_generation)));
  for (const std::string& line : run.task->data_remarks()) run.log->say(line);
  if (!remark.empty()) run.log->say(remark);
  for (const std::string& line : {run.folder->taken_over(), run.folder->kept_beside()})
    if (!line.empty()) run.log->say(line);
}

// The last validation in the summary: a line for each figure that has a label, with its notes.
std::vector<std::string> validation_lines(const Validation& validation, uint64_t generation) {
  std::vector<std::string> lines, notes;
  for (const Metric& metric : validation.metrics) {
    if (!metric.label.empty()) {
      lines.push_back(fmt::format("{:24} {:.3f}", metric.label, metric.value));
      if (!metric.unit.empty()) lines.back() += ' ' + metric.unit;
      if (validation.generation != generation)
        lines.back() += fmt::format(" after generation {}", validation.generation);
      notes.emplace_back();
    }
    if (metric.note.empty() || lines.empty()) continue;
    if (!notes.back().empty()) notes.back() += "; ";
    notes.back() +=
        metric.label.empty() ? fmt::format("{:.3f} {}", metric.value, metric.note) : metric.note;
  }
  for (size_t i = 0; i < lines.size(); ++i)
    if (!notes[i].empty()) lines[i] += fmt::format(" ({})", notes[i]);
  return lines;
}

std::vector<std::string> summary_of(Run& run, uint64_t generations_run) {
  const RunConfig& config = run.config;
  const double seconds = run.log->elapsed_s();
  const double members = run.log->members();
  const std::optional<Work>& work = run.log->work();
  std::vector<std::string> lines = {
      fmt::format("version                  {}", version()),
      fmt::format("generations              {} of {} ({} now, {:.1f} s)", run.generation,
                  config.generations, generations_run, seconds),
      fmt::format("evaluated                {:.4g} members{}", members,
                  work ? fmt::format(", {:.4g} {} ({:.4g} {}/s)", work->amount, work->unit,
                                     work->amount / seconds, work->unit)
                       : fmt::format(" ({:.4g} members/s)", members / seconds))};
  if (const auto& validation = run.log->last_validation()) {
    for (std::string& line : validation_lines(*validation, run.generation))
      lines.push_back(std::move(line));
    for (std::string& line : run.task->reference_lines()) lines.push_back(std::move(line));
  }
  for (std::string& line : run.stragglers.summary()) lines.push_back(std::move(line));
  lines.push_back(
      fmt::format("parameters digest        {}", current_digest(*run.learner, config.update)));
  return lines;
}

// Everything that can be wrong on some rank, and then the start values or the checkpoint: after
// this the generations may begin.
void prepare(Run& run, Collectives& group) {
  const RunConfig& config = run.config;
  const TaskType& type = task_type(config.task);
  const int threads = config.threads != 0 ? config.threads : usable_threads(group);
  const ChosenDevice chosen = choose_device(device_for(type, config.device), group);
  run.chosen = chosen.device;
  choose_reduction(config.all_reduce, run.chosen);  // refuses what is not here
  run.name = fmt::format("rank {} on {}", group.rank(), host_name());
  std::vector<std::byte> start;
  together(group, [&] {
    if (group.rank() == 0) check_run_folder(config);
    run.device = make_device(run.chosen.name, {.threads = threads, .index = run.chosen.index});
    run.learner = run.device->make_learner(learner_settings(config));
    run.task = type.make(config, *run.device, *run.learner);
    if (CarriedStates* carried = run.task->carried())
      carried->assign(pairs_of_rank(config.pairs(), group.rank(), group.size()));
    start.resize(run.learner->layout().bytes());
    if (group.rank() == 0 && config.resume.empty())
      start = start_parameters(config, run.learner->layout());
    if (run.resumed_from) check_resumed(run);
  });
  agree(group, {{"data", run.task->data_digest()},
                {"arithmetic", run.task->arithmetic()},
                {"layout", run.learner->layout().text()}});
  const std::string resume_remark = remark_on_resumed(run);
  if (config.resume.empty()) {
    begin_with(group, config, *run.learner, std::move(start));
  } else {
    run.generation = load_snapshot(run.resumed_from ? &*run.resumed_from : nullptr, config, group,
                                   *run.task, *run.learner);
    run.resumed_from.reset();  // a file that is open keeps its room when it is removed
  }

  run.first_generation = run.generation;
  together(group, [&] {
    if (group.rank() != 0) return;
    run.folder.emplace(config, run.config_text, /*replaces_lost=*/false);
    begin_records(run);
  });
  if (run.log) {
    say_what_begins(run, group, chosen.remark);
    if (!resume_remark.empty()) run.log->say(resume_remark);
  }
  const int cores = usable_threads(group);  // collective
  if (run.log && threads > cores)
    run.log->say(
        fmt::format("threads = {}: more than the {} core{} that each rank of this node can "
                    "use",
                    threads, cores, cores == 1 ? "" : "s"));
  install_stop_handlers();
}

// Rank 0: the last lines. `failure`: the storage's verdict; what the run has failed in, if in
// anything, comes back.
std::string conclude(Run& run, std::string failure) {
  const uint64_t generation = run.generation, here = generation - run.first_generation;
  // What was stopped as soon as it went on has nothing to add to the summary of what was before.
  if (here > 0 || generation == 0 || generation == run.config.generations) {
    const std::string unwritten = run.log->end(summary_of(run, here));
    if (failure.empty()) failure = unwritten;
  }
  if (!failure.empty()) {
    run.log->complain(failure);
    run.folder->say(RunStatus::failed, 1, generation, failure);
  } else if (generation != run.config.generations) {
    run.log->say(fmt::format("stopped {}; go on with: eggroll train --resume {}",
                             run.is_out_of_time
                                 ? fmt::format("after max-seconds = {}", run.config.max_seconds)
                                 : "by a signal",
                             run.config.run));
    run.folder->say(RunStatus::stopped, kStoppedBeforeEnd, generation);
  } else {
    run.folder->say(RunStatus::finished, 0, generation);
  }
  return failure;
}

}  // namespace

int train(const std::vector<std::string>& arguments, MpiSession& session, Collectives& world) {
  refuse_unrelated_processes(world.size());
  Run run;
  run.config = agree_on_config(arguments, world, run.resumed_from);
  const RunConfig& config = run.config;
  run.config_text = write_config(config, option_catalogue());
  if (config.dry_run) {
    const int threads = config.threads != 0 ? config.threads : usable_threads(world);
    const TaskType& type = task_type(config.task);
    const ComputeDevice device = choose_device(device_for(type, config.device), world).device;
    choose_reduction(config.all_reduce, device);
    std::string report;
    together(world, [&] {
      make_device(device.name, {.threads = 1, .index = device.index});
      const std::vector<std::string> remarks = type.check_data(config);
      if (world.rank() == 0) report = dry_run_report(config, world.size(), threads, device);
      for (const std::string& line : remarks) report += fmt::format("# {}\n", line);
    });
    if (world.rank() == 0) write_result(report);
    return 0;
  }
  if (!config.resume.empty() && is_finished(run, world)) return 0;
  if (config.survive && world.size() > 1) {
    together(world, [&] { check_launcher_lets_survive(world.size()); });
    Membership membership(world, config.silence_limit);
    const int code = run_with_survivors(
        run, session, membership, [&run](Collectives& group) { prepare(run, group); },
        [&run] { return conclude(run, run.storage->failure(run.generation)); });
    if (code != 0) return code;
  } else {
    prepare(run, world);
    try {
      run_generations(run, world);
    } catch (const std::exception& e) {
      if (run.folder) run.folder->say(RunStatus::failed, 1, run.generation, e.what());
      throw;
    }
    const std::string failure = run.log ? conclude(run, run.storage->failure(run.generation)) : "";
    if (first_failure(world, failure, failure.empty() ? 0 : 1)) return 1;
  }
  return run.generation == config.generations ? 0 : kStoppedBeforeEnd;
}

}  // namespace eggroll
