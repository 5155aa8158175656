#include "coordinator/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <thread>

#include "common/check.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/generation.hpp"
#include "coordinator/records/run_state.hpp"
#include "coordinator/records/snapshots.hpp"
#include "coordinator/stop_signal.hpp"
#include "kernels/optimizers.hpp"

namespace eggroll {
namespace {

constexpr std::chrono::milliseconds kPauseRound{10};

void stop_on_different_digests(Collectives& group, Learner& learner, const RunConfig& config,
                               uint64_t generation) {
  const std::string mine = tensor_digests(learner, config.update);
  std::string all(mine.size() * static_cast<size_t>(group.size()), ' ');
  group.all_gather(bytes_of(mine), bytes_of(all));
  for (size_t at = 0; at < all.size(); at += 16) {
    const size_t rank = at / mine.size(), tensor = at % mine.size() / 16;
    if (all.compare(at, 16, all, 16 * tensor, 16) == 0) continue;
    throw Error(
        fmt::format("after generation {} tensor {} of rank {} (digest {}) differs from that of "
                    "rank 0 (digest {}); "
                    "go on from the last checkpoint with --resume {}",
                    generation, learner.layout()[tensor].name, rank, all.substr(at, 16),
                    all.substr(16 * tensor, 16), config.run));
  }
}

std::optional<Validation> validate(Collectives& group, Task& task, uint64_t generation) {
  Stopwatch watch;
  Tally tally = task.validate(group.rank(), group.size());
  Collectives::wait(*group.start_all_reduce_sum(std::span<int64_t>(tally.count)));
  std::vector<Metric> metrics = task.validation_metrics(tally);
  if (metrics.empty()) return std::nullopt;
  return Validation{generation, std::move(metrics), watch.elapsed_s()};
}

// Sums between the devices of this group, where they are made there; it ends with the group.
std::unique_ptr<DeviceReduction> connect_devices(Run& run, Collectives& group) {
  const ReductionChoice choice = choose_reduction(run.config.all_reduce, run.chosen);
  if (group.size() == 1) return nullptr;
  if (!choice.is_on_device) {
    if (run.log && !choice.remark.empty())
      run.log->say(
          fmt::format("sums of ranks meet in the memory of the hosts, by MPI: {}", choice.remark));
    return nullptr;
  }
  DeviceReductionSettings settings{.device_index = run.chosen.index};
  if (run.config.survive)  // a rank that is lost is known to be by then
    settings.loss_limit =
        std::chrono::milliseconds(static_cast<int64_t>(1000 * (run.config.silence_limit + 1)));
  std::unique_ptr<DeviceReduction> devices = make_device_reduction(group, settings);
  if (run.log)
    run.log->say(fmt::format("sums of ranks meet in the memory of the GPUs, by {}",
                             device_reduction_name()));
  return devices;
}

// The checkpoint that is due beside those by generations and by the clock.
CheckpointWish checkpoint_wish(bool is_last, bool pauses) {
  const bool asked = take_checkpoint_request() || pauses;
  return is_last ? CheckpointWish::last : asked ? CheckpointWish::asked : CheckpointWish::none;
}

bool is_due(uint64_t every, uint64_t generation) { return every != 0 && generation % every == 0; }

// Rank 0: what happens between the generations completed so far and the next one.
GenerationPlan make_plan(Run& run, bool stopping) {
  const RunConfig& config = run.config;
  run.storage->review();
  stopping |= run.storage->must_stop();
  const uint64_t completed = run.generation;
  const bool at_end = completed == config.generations;
  const bool at_start = completed == run.first_generation;
  // Each start makes a generation at least, so that starts with any budget come to an end.
  run.is_out_of_time = !at_start && config.max_seconds != 0 &&
                       run.since_start.elapsed_s() >= static_cast<double>(config.max_seconds);
  stopping |= run.is_out_of_time;
  // What was due when the run was stopped is made when it goes on.
  const bool is_validated = at_start && completed > 0 && !run.log->lacks_validation();
  const bool ends = at_end || stopping;
  // If this is the end, there is time for a checkpoint now; a generation might take all of it.
  const bool pauses = !ends && end_may_follow();
  return {
      .generation = completed,
      .sigma = run.task->sigma(completed),
      .noise_epoch = config.noise_epoch(completed),
      .action = ends     ? GenerationAction::stop
                : pauses ? GenerationAction::pause
                         : GenerationAction::run,
      // A new run that is stopped before its first generation leaves where to go on, too.
      .write_checkpoint = (!at_start || (stopping && completed == 0)) &&
                          run.storage->takes_checkpoint(completed, checkpoint_wish(ends, pauses)),
      .validate = (at_end || (is_due(config.validate_every, completed) && !stopping)) && !pauses &&
                  !is_validated,
      .compare_digests =
          !at_start && !pauses && (at_end || is_due(config.digest_every, completed))};
}

// What there is to tell of the last generation; nothing before the first.
struct Turn {
  GenerationPlan plan;
  GenerationRecord record = {};
  GenerationExtras extras = {};
};

// All that happens after the last generation and before the next: the plan, which all come to know,
// and what it asks for; then the last generation's record is complete, and written.
GenerationPlan between_generations(Run& run, Collectives& group, std::optional<Turn>& last,
                                   bool stopping) {
  const RunConfig& config = run.config;
  GenerationPlan plan;
  if (group.rank() == 0) plan = make_plan(run, stopping || stop_requested());
  group.broadcast(bytes_of(plan));

  // All that looks at the optimiser's slots comes now.
  const bool stops = plan.action == GenerationAction::stop;
  Stopwatch watch;
  if (config.step == StepMode::sharded && (stops || plan.compare_digests || plan.write_checkpoint))
    gather_slots(*run.learner, optimizer_type(config.update).slots.size(), group);
  const double slots_s = watch.elapsed_s();
  if (plan.compare_digests) stop_on_different_digests(group, *run.learner, config, plan.generation);
  std::optional<Validation> validation;
  if (plan.validate) validation = validate(group, *run.task, plan.generation);
  watch.lap_s();
  double checkpoint_s = 0;
  if (plan.write_checkpoint) {
    start_snapshot(config, run.config_text, group, *run.task, *run.learner, run.generation,
                   run.storage ? &run.storage->writer() : nullptr);
    if (run.storage && stops) run.storage->settle();
    checkpoint_s = slots_s + watch.elapsed_s();
  }
  if (!run.log) return plan;
  if (validation) run.log->validated(*validation);
  if (!last) return plan;
  last->extras.checkpoint_s += checkpoint_s;
  if (plan.action == GenerationAction::pause) return plan;  // the record tells of what follows, too
  last->extras.validation = std::move(validation);
  last->extras.written = run.storage->take_written();
  run.log->generation(last->plan, last->record, last->extras);
  return plan;
}

// A generation, and what rank 0 will tell of it.
Turn run_turn(Run& run, Collectives& group, DeviceReduction* devices, const GenerationPlan& plan) {
  const RunConfig& config = run.config;
  Turn turn{.plan = plan};
  Stopwatch watch;
  if (run.buddies) run.buddies->keep(config, group, *run.task, *run.learner, run.generation);
  turn.extras.guard_s = watch.elapsed_s();
  turn.record = run_generation(plan, config, {group, devices, config.step}, *run.task, *run.learner,
                               run.device->works_in_bulk(), stop_requested());
  turn.extras.generation_s = watch.elapsed_s();
  turn.extras.ranks = group.size();
  run.generation = plan.generation + 1;
  // A generation that is done once more tells of its losses once more.
  std::ranges::copy_if(run.regroupings, std::back_inserter(turn.extras.regroupings),
                       [&](const Regrouping& each) { return each.generation == plan.generation; });
  if (!run.log) return turn;
  const GenerationRecord& record = turn.record;
  turn.extras.train = run.task->train_metrics(record.tally, record.fitness);
  turn.extras.work = run.task->work(record.tally);
  turn.extras.of_optimizer =
      optimizer_type(config.update)
          .metrics(config.of_update, step_context(config, plan.generation,
                                                  record.shaped.sum_squares, record.shaped.unit));
  turn.extras.slow_ranks = run.stragglers.names_of(record.slow_ranks);
  for (const std::string& line : run.stragglers.add(record.slow_ranks)) run.log->say(line);
  return turn;
}

}  // namespace

void begin_records(Run& run) {
  run.storage.reset();
  run.log.emplace(run.config, run.generation, run.learner->layout().trained());
  run.storage.emplace(run.config, run.generation, run.log->metrics(),
                      [&run](const std::string& line) { run.log->complain(line); });
  run.folder->say(RunStatus::running, 0, run.generation);
}

void run_generations(Run& run, Collectives& group) {
  const std::unique_ptr<DeviceReduction> devices = connect_devices(run, group);
  run.stragglers.know_ranks(gather_names(group, run.name));
  std::optional<Turn> last;
  bool stopping = false;
  for (;;) {
    const GenerationPlan plan = between_generations(run, group, last, stopping);
    if (plan.action == GenerationAction::stop) return;
    if (plan.action == GenerationAction::pause) {
      while (group.rank() == 0 && end_may_follow()) std::this_thread::sleep_for(kPauseRound);
      continue;
    }
    last = run_turn(run, group, devices.get(), plan);
    stopping |= last->record.stop_requested;
  }
}

}  // namespace eggroll
