#include "coordinator/train.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <new>
#include <optional>

#include "common/check.hpp"
#include "common/messages/agreement.hpp"
#include "common/noise.hpp"
#include "coordinator/build_id.hpp"
#include "coordinator/devices.hpp"
#include "coordinator/dry_run.hpp"
#include "coordinator/evaluation.hpp"
#include "coordinator/launcher.hpp"
#include "coordinator/records/storage.hpp"
#include "coordinator/run.hpp"
#include "coordinator/stop_signal.hpp"
#include "coordinator/survivors.hpp"
#include "coordinator/thread_count.hpp"

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

// Every rank parses for itself, so that a file missing on one host is found; rank 0 decides what a
// resumed run goes on with.
RunConfig agree_on_config(const std::vector<std::string>& arguments, Collectives& group,
                          std::optional<CheckpointReader>& resumed_from) {
  ParsedConfig parsed;
  together(group, [&] {
    parsed = parse_train_config(arguments);
    if (parsed.config.resume.empty()) validate_config(parsed.config, parsed.given);
  });
  agree(group, {{"build", build_id()},
                {"resume", parsed.config.resume},
                {"auto-resume", parsed.config.auto_resume ? "yes" : "no"},
                {"dry-run", parsed.config.dry_run ? "yes" : "no"},
                {"survive", parsed.config.survive ? "yes" : "no"},
                {"config", write_config(parsed.config)}});
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
    config = config_for_resume(
        parse_config_text(resumed_from->header().config, parsed.config.resume), parsed);
    validate_config(config, parsed.given);
    if (resumed_from->header().generation > config.generations)
      throw ConfigError(fmt::format("generations = {}: {} has completed {}", config.generations,
                                    parsed.config.resume, resumed_from->header().generation));
    text = write_config(config);
  });
  uint64_t size = text.size();
  group.broadcast(bytes_of(size));
  text.resize(size);
  group.broadcast(bytes_of(text));
  config = parse_config_text(text, "the resumed run");
  config.dry_run = parsed.config.dry_run;
  config.survive = parsed.config.survive;
  config.resume = parsed.config.resume;
  config.auto_resume = parsed.config.auto_resume;
  return config;
}

std::vector<std::string> summary_of(Run& run, uint64_t generations_run) {
  const RunConfig& config = run.config;
  const double seconds = run.log->elapsed_s();
  const double members =
      static_cast<double>(generations_run) * static_cast<double>(config.population);
  std::vector<std::string> lines = {
      fmt::format("generations              {} of {} ({} now, {:.1f} s)", run.position.generation,
                  config.generations, generations_run, seconds),
      fmt::format("evaluated                {:.4g} members, {:.4g} tokens ({:.4g} tokens/s)",
                  members, members * config.tokens_per_update,
                  members * config.tokens_per_update / seconds)};
  if (const auto& validation = run.log->last_validation()) {
    lines.push_back(fmt::format(
        "validation               {:.3f} bits/byte{} (exact; {:.3f} by the integer score)",
        validation->bits_per_byte,
        validation->generation == run.position.generation
            ? ""
            : fmt::format(" after generation {}", validation->generation),
        validation->integer_bits_per_byte));
    for (std::string& line : run.task->reference_lines()) lines.push_back(std::move(line));
  }
  for (std::string& line : run.stragglers.summary()) lines.push_back(std::move(line));
  lines.push_back(fmt::format("parameters digest        {}",
                              current_digest(run.task->backend(), config.update)));
  return lines;
}

// All tensors, for ranks to compare.
std::string layout_text(const ParameterLayout& layout) {
  std::string text;
  for (const TensorSpec& tensor : layout.tensors())
    text += fmt::format("{} {} {} {} {}\n", tensor.name, static_cast<int>(tensor.kind), tensor.rows,
                        tensor.cols, tensor.offset);
  return text;
}

// Everything that can be wrong on some rank, and then the start values or the checkpoint: after
// this the generations may begin.
void prepare(Run& run, Collectives& group) {
  const RunConfig& config = run.config;
  const int threads = config.threads != 0 ? config.threads : usable_threads(group);
  const ChosenDevice chosen = choose_device(config.device, group);
  run.device = chosen.device;
  choose_reduction(config.all_reduce, run.device);  // refuses what is not here
  run.name = fmt::format("rank {} on {}", group.rank(), host_name());
  std::vector<int8_t> start(int_rnn_layout(config.shape()).size());
  together(group, [&] {
    if (group.rank() == 0) check_run_folder(config);
    run.task = make_task(config, threads, run.device);
    run.task->backend().assign_pairs(pairs_of_rank(config.pairs(), group.rank(), group.size()));
    if (group.rank() == 0 && config.resume.empty()) start = start_parameters(config);
    if (run.resumed_from && run.resumed_from->header().data_digest != run.task->data_digest())
      throw ConfigError(fmt::format(
          "data = {}: not the text that {} was trained on (digest {}, there {})", config.data,
          config.resume, run.task->data_digest(), run.resumed_from->header().data_digest));
  });
  agree(group,
        {{"data", run.task->data_digest()}, {"layout", layout_text(run.task->backend().layout())}});
  if (config.resume.empty()) {
    begin_with(group, *run.task, config.update, std::move(start));
  } else {
    run.position =
        load_snapshot(run.resumed_from ? &*run.resumed_from : nullptr, config, group, *run.task);
    run.resumed_from.reset();  // a file that is open keeps its room when it is removed
  }

  run.first_generation = run.position.generation;
  together(group, [&] {
    if (group.rank() != 0) return;
    run.folder.emplace(config, /*replaces_lost=*/false);
    begin_records(run);
  });
  if (run.log)
    run.log->say(fmt::format(
        "{}: {} parameters, population {}, {} rank{}, {}{}; run folder {}{}", config.task,
        run.task->backend().layout().size(), config.population, group.size(),
        group.size() == 1 ? "" : "s", run.task->backend().description(),
        takes_tiles(config, group.size(), run.task->backend().works_in_bulk()) ? ", tiles dynamic"
                                                                               : "",
        config.run,
        run.first_generation == 0
            ? ""
            : fmt::format(", resumed after generation {}", run.first_generation)));
  if (run.log && !chosen.remark.empty()) run.log->say(chosen.remark);
  if (run.folder && !run.folder->taken_over().empty()) run.log->say(run.folder->taken_over());
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
  const std::string unwritten =
      run.log->end(summary_of(run, run.position.generation - run.first_generation));
  if (failure.empty()) failure = unwritten;
  const uint64_t generation = run.position.generation;
  if (!failure.empty()) {
    run.log->complain(failure);
    run.folder->say(RunState::failed, 1, generation, failure);
  } else if (generation != run.config.generations) {
    run.log->say(
        fmt::format("stopped by a signal; go on with: eggroll train --resume {}", run.config.run));
    run.folder->say(RunState::stopped, kStoppedBeforeEnd, generation);
  } else {
    run.folder->say(RunState::finished, 0, generation);
  }
  return failure;
}

}  // namespace

int train(const std::vector<std::string>& arguments, MpiSession& session, Collectives& world) {
  refuse_unrelated_processes(world.size());
  Run run;
  run.config = agree_on_config(arguments, world, run.resumed_from);
  const RunConfig& config = run.config;
  if (config.dry_run) {
    const int threads = config.threads != 0 ? config.threads : usable_threads(world);
    const ComputeDevice device = choose_device(config.device, world).device;
    choose_reduction(config.all_reduce, device);
    // Data and device are checked with the smallest model: the answer must not need a run's memory.
    RunConfig smallest = config;
    smallest.layers = 1;
    smallest.width = 64;
    together(world, [&] { make_task(smallest, 1, device); });
    if (world.rank() == 0) fmt::print("{}", dry_run_report(config, world.size(), threads, device));
    return 0;
  }
  if (config.survive && world.size() > 1) {
    together(world, [&] { check_launcher_lets_survive(world.size()); });
    Membership membership(world, config.silence_limit);
    const int code = run_with_survivors(
        run, session, membership, [&run](Collectives& group) { prepare(run, group); },
        [&run] { return conclude(run, run.storage->failure(run.position.generation)); });
    if (code != 0) return code;
  } else {
    prepare(run, world);
    try {
      run_generations(run, world);
    } catch (const std::exception& e) {
      if (run.folder) run.folder->say(RunState::failed, 1, run.position.generation, e.what());
      throw;
    }
    const std::string failure =
        run.log ? conclude(run, run.storage->failure(run.position.generation)) : "";
    if (first_failure(world, failure, failure.empty() ? 0 : 1)) return 1;
  }
  return run.position.generation == config.generations ? 0 : kStoppedBeforeEnd;
}

}  // namespace eggroll
