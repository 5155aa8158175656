#include "coordinator/train.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <new>
#include <optional>

#include "common/agreement.hpp"
#include "common/check.hpp"
#include "common/noise.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/build_id.hpp"
#include "coordinator/dry_run.hpp"
#include "coordinator/generation.hpp"
#include "coordinator/run_log.hpp"
#include "coordinator/snapshots.hpp"
#include "coordinator/step_size.hpp"
#include "coordinator/stop_signal.hpp"
#include "coordinator/thread_count.hpp"
#include "worker/task.hpp"

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

// What one run holds from its first generation to its last.
struct Run {
  RunConfig config;
  std::optional<CheckpointReader> resumed_from;  // rank 0 of a resumed run
  std::unique_ptr<Task> task;
  RunPosition position;
  std::optional<RunLog> log;  // rank 0
};

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
                {"dry-run", parsed.config.dry_run ? "yes" : "no"},
                {"config", write_config(parsed.config)}});
  if (parsed.config.resume.empty()) return parsed.config;

  RunConfig config;
  std::string text;
  together(group, [&] {
    if (group.rank() != 0) return;
    resumed_from.emplace(open_checkpoint("resume", parsed.config.resume));
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
  config.resume = parsed.config.resume;
  return config;
}

// A folder holds one run: a new one does not write among the checkpoints of another.
void check_run_folder(const RunConfig& config) {
  std::error_code error;
  const std::filesystem::path resumed = std::filesystem::is_directory(config.resume, error)
                                            ? std::filesystem::path(config.resume)
                                            : std::filesystem::path(config.resume).parent_path();
  const bool goes_on =
      !config.resume.empty() && std::filesystem::equivalent(resumed, config.run, error);
  if (goes_on) return;
  if (std::filesystem::exists(config.run, error) &&
      !std::filesystem::is_directory(config.run, error))
    throw ConfigError(fmt::format("run = {}: is a file, needed is a folder", config.run));
  bool is_taken = false;
  try {
    is_taken = !list_checkpoints(config.run).empty();
  } catch (const Error& e) {
    throw ConfigError(fmt::format("run = {}: {}", config.run, without_path(e, config.run)));
  }
  if (is_taken)
    throw ConfigError(fmt::format(
        "run = {}: the folder already holds a run; go on with --resume {} or choose another folder",
        config.run, config.run));
}

void open_run_folder(const RunConfig& config) {
  std::error_code error;
  std::filesystem::create_directories(config.run, error);
  if (error)
    throw ConfigError(
        fmt::format("run = {}: cannot create the folder: {}", config.run, error.message()));
  const std::filesystem::path path = std::filesystem::path(config.run) / "config.ini";
  std::ofstream file(path, std::ios::trunc);
  file << write_config(config);
  file.close();
  if (!file) throw ConfigError(fmt::format("run = {}: cannot write {}", config.run, path.string()));
}

// The digests of the single tensors, one after another, each 16 characters.
std::string tensor_digests(Backend& backend, UpdateRule update) {
  std::vector<int8_t> parameters(backend.layout().size());
  std::vector<int32_t> accumulators(update == UpdateRule::sigma_delta ? parameters.size() : 0);
  backend.read_parameters(parameters);
  backend.read_accumulators(accumulators);
  std::string digests;
  for (const TensorSpec& tensor : backend.layout().tensors())
    digests += parameters_digest(
        std::span(parameters).subspan(tensor.offset, tensor.size()),
        accumulators.empty() ? std::span<int32_t>()
                             : std::span(accumulators).subspan(tensor.offset, tensor.size()));
  return digests;
}

void stop_on_different_digests(Collectives& group, Backend& backend, const RunConfig& config,
                               uint64_t generation) {
  const std::string mine = tensor_digests(backend, config.update);
  std::string all(mine.size() * static_cast<size_t>(group.size()), ' ');
  group.all_gather(bytes_of(mine), bytes_of(all));
  for (size_t at = 0; at < all.size(); at += 16) {
    const size_t rank = at / mine.size(), tensor = at % mine.size() / 16;
    if (all.compare(at, 16, all, 16 * tensor, 16) == 0) continue;
    throw Error(
        fmt::format("after generation {} tensor {} of rank {} (digest {}) differs from that of "
                    "rank 0 (digest {}); "
                    "go on from the last checkpoint with --resume {}",
                    generation, backend.layout()[tensor].name, rank, all.substr(at, 16),
                    all.substr(16 * tensor, 16), config.run));
  }
}

std::optional<Validation> validate(Collectives& group, Task& task, uint64_t generation) {
  Stopwatch watch;
  const StreamScores mine = task.validate(group.rank(), group.size());
  int64_t sums[3] = {mine.score_sum, mine.loss_2e24, static_cast<int64_t>(mine.tokens)};
  Collectives::wait(*group.start_all_reduce_sum(std::span<int64_t>(sums)));
  if (sums[2] == 0) return std::nullopt;
  return validation_of({sums[0], sums[1], static_cast<uint64_t>(sums[2])}, generation,
                       watch.elapsed_s());
}

bool is_due(uint64_t every, uint64_t generation) { return every != 0 && generation % every == 0; }

// Rank 0: what happens between the generations completed so far and the next one.
GenerationPlan make_plan(const Run& run, bool stopping) {
  const RunConfig& config = run.config;
  const uint64_t completed = run.position.generation;
  const bool at_end = completed == config.generations;
  const bool asked = take_checkpoint_request();
  const bool at_start =
      run.resumed_from ? completed == run.resumed_from->header().generation : completed == 0;
  return {.generation = completed,
          .data_position = run.position.data_position,
          .noise_epoch =
              static_cast<uint32_t>(config.noise_reuse == 0 ? 0 : completed / config.noise_reuse),
          .action = at_end || stopping ? GenerationAction::stop : GenerationAction::run,
          .write_checkpoint = !at_start && (asked || at_end || stopping ||
                                            is_due(config.checkpoint_every, completed)),
          .validate = (at_end || (is_due(config.validate_every, completed) && !stopping)) &&
                      !(at_start && run.resumed_from),
          .compare_digests = !at_start && (at_end || is_due(config.digest_every, completed))};
}

void run_generations(Run& run, Collectives& group) {
  const RunConfig& config = run.config;
  Task& task = *run.task;
  bool stopping = false;
  GenerationPlan plan;
  GenerationRecord record;
  GenerationExtras extras;
  bool has_record = false;
  for (;;) {
    const GenerationPlan done = plan;
    if (group.rank() == 0) plan = make_plan(run, stopping || stop_requested());
    group.broadcast(bytes_of(plan));

    if (plan.compare_digests)
      stop_on_different_digests(group, task.backend(), config, plan.generation);
    if (plan.validate) extras.validation = validate(group, task, plan.generation);
    Stopwatch watch;
    if (plan.write_checkpoint) {
      write_snapshot(config, group, task, run.position);
      extras.checkpoint_s = watch.elapsed_s();
    }
    if (run.log) {
      if (extras.validation) run.log->validated(*extras.validation);
      if (has_record) run.log->generation(done, record, extras);
    }
    if (plan.action == GenerationAction::stop) return;

    watch.lap_s();
    record = run_generation(plan, config, group, task, stop_requested());
    extras = {};
    extras.generation_s = watch.elapsed_s();
    extras.alpha = alpha_at(config, plan.generation);
    has_record = true;
    stopping |= record.stop_requested;
    run.position = {plan.generation + 1, task.advance(plan.data_position)};
  }
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
  lines.push_back(fmt::format("parameters digest        {}",
                              current_digest(run.task->backend(), config.update)));
  return lines;
}

}  // namespace

int train(const std::vector<std::string>& arguments, Collectives& group) {
  Run run;
  run.config = agree_on_config(arguments, group, run.resumed_from);
  const RunConfig& config = run.config;
  const int threads = config.threads != 0 ? config.threads : usable_threads(group);
  if (config.dry_run) {
    // Data and device are checked with the smallest model: the answer must not need a run's memory.
    RunConfig smallest = config;
    smallest.layers = 1;
    smallest.width = 64;
    together(group, [&] { make_task(smallest, 1); });
    if (group.rank() == 0) fmt::print("{}", dry_run_report(config, group.size(), threads));
    return 0;
  }
  std::vector<int8_t> start(int_rnn_layout(config.shape()).size());
  together(group, [&] {
    if (group.rank() == 0) check_run_folder(config);
    run.task = make_task(config, threads);
    run.task->backend().assign_pairs(pairs_of_rank(config.pairs(), group.rank(), group.size()));
    if (group.rank() == 0 && config.resume.empty()) start = start_parameters(config);
    if (run.resumed_from && run.resumed_from->header().data_digest != run.task->data_digest())
      throw ConfigError(fmt::format(
          "data = {}: not the text that {} was trained on (digest {}, there {})", config.data,
          config.resume, run.task->data_digest(), run.resumed_from->header().data_digest));
  });
  agree(group, {{"data", run.task->data_digest()}});
  if (config.resume.empty()) {
    group.broadcast(bytes_of(start));
    run.task->backend().write_parameters(start);
  } else {
    run.position =
        load_snapshot(run.resumed_from ? &*run.resumed_from : nullptr, config, group, *run.task);
  }

  const uint64_t first = run.position.generation;
  const size_t parameters = run.task->backend().layout().size();
  together(group, [&] {
    if (group.rank() != 0) return;
    open_run_folder(config);
    run.log.emplace(config, first, parameters);
  });
  if (run.log)
    run.log->say(
        fmt::format("{}: {} parameters, population {}, {} rank{}, {}; run folder {}{}", config.task,
                    parameters, config.population, group.size(), group.size() == 1 ? "" : "s",
                    run.task->backend().description(), config.run,
                    first == 0 ? "" : fmt::format(", resumed after generation {}", first)));
  install_signal_handlers();
  run_generations(run, group);

  if (run.log) {
    run.log->end(summary_of(run, run.position.generation - first));
    if (run.position.generation != config.generations)
      run.log->say(
          fmt::format("stopped by a signal; go on with: eggroll train --resume {}", config.run));
  }
  return 0;
}

}  // namespace eggroll
