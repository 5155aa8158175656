#include "coordinator/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "common/check.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/generation.hpp"
#include "coordinator/step_size.hpp"
#include "coordinator/stop_signal.hpp"

namespace eggroll {
namespace {

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

// Sums between the devices of this group, where they are made there; it ends with the group.
std::unique_ptr<DeviceReduction> connect_devices(Run& run, Collectives& group) {
  const ReductionChoice choice = choose_reduction(run.config.all_reduce, run.device);
  if (group.size() == 1) return nullptr;
  if (!choice.is_on_device) {
    if (run.log && !choice.remark.empty())
      run.log->say(
          fmt::format("sums of ranks meet in the memory of the hosts, by MPI: {}", choice.remark));
    return nullptr;
  }
  DeviceReductionSettings settings{.device_index = run.device.index};
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
CheckpointWish checkpoint_wish(bool is_last) {
  const bool asked = take_checkpoint_request();
  return is_last ? CheckpointWish::last : asked ? CheckpointWish::asked : CheckpointWish::none;
}

bool is_due(uint64_t every, uint64_t generation) { return every != 0 && generation % every == 0; }

// Rank 0: what happens between the generations completed so far and the next one.
GenerationPlan make_plan(Run& run, bool stopping) {
  const RunConfig& config = run.config;
  run.storage->review();
  stopping |= run.storage->must_stop();
  const uint64_t completed = run.position.generation;
  const bool at_end = completed == config.generations;
  const bool at_start = completed == run.first_generation;
  return {.generation = completed,
          .data_position = run.position.data_position,
          .noise_epoch =
              static_cast<uint32_t>(config.noise_reuse == 0 ? 0 : completed / config.noise_reuse),
          .action = at_end || stopping ? GenerationAction::stop : GenerationAction::run,
          // A new run that is stopped before its first generation leaves where to go on, too.
          .write_checkpoint =
              (!at_start || (stopping && completed == 0)) &&
              run.storage->takes_checkpoint(completed, checkpoint_wish(at_end || stopping)),
          .validate = (at_end || (is_due(config.validate_every, completed) && !stopping)) &&
                      !(at_start && completed > 0),
          .compare_digests = !at_start && (at_end || is_due(config.digest_every, completed))};
}

}  // namespace

void begin_records(Run& run) {
  run.storage.reset();
  run.log.emplace(run.config, run.position.generation, run.task->backend().layout().size());
  run.storage.emplace(run.config, run.position.generation, run.log->metrics(),
                      [&run](const std::string& line) { run.log->complain(line); });
  run.folder->say(RunState::running, 0, run.position.generation);
}

void run_generations(Run& run, Collectives& group) {
  const RunConfig& config = run.config;
  Task& task = *run.task;
  const std::unique_ptr<DeviceReduction> devices = connect_devices(run, group);
  bool stopping = false;
  GenerationPlan plan;
  GenerationRecord record;
  GenerationExtras extras;
  bool has_record = false;
  run.stragglers.know_ranks(gather_names(group, run.name));
  for (;;) {
    const GenerationPlan done = plan;
    if (group.rank() == 0) plan = make_plan(run, stopping || stop_requested());
    group.broadcast(bytes_of(plan));

    // All that looks at the accumulators comes now.
    const bool stops = plan.action == GenerationAction::stop;
    Stopwatch watch;
    if (config.step == StepMode::sharded && config.update == UpdateRule::sigma_delta &&
        (stops || plan.compare_digests || plan.write_checkpoint))
      gather_accumulators(task.backend(), group);
    const double accumulators_s = watch.elapsed_s();
    if (plan.compare_digests)
      stop_on_different_digests(group, task.backend(), config, plan.generation);
    if (plan.validate) extras.validation = validate(group, task, plan.generation);
    watch.lap_s();
    if (plan.write_checkpoint) {
      start_snapshot(config, group, task, run.position,
                     run.storage ? &run.storage->writer() : nullptr);
      if (run.storage && stops) run.storage->settle();
      extras.checkpoint_s = accumulators_s + watch.elapsed_s();
    }
    if (run.log) {
      if (extras.validation) run.log->validated(*extras.validation);
      if (has_record) {
        extras.written = run.storage->take_written();
        run.log->generation(done, record, extras);
      }
    }
    if (stops) return;

    watch.lap_s();
    if (run.guards) run.guards->keep(config, group, task, run.position);
    const double guard_s = watch.elapsed_s();
    record =
        run_generation(plan, config, {group, devices.get(), config.step}, task, stop_requested());
    extras = {};
    extras.generation_s = watch.elapsed_s();
    extras.guard_s = guard_s;
    extras.ranks = group.size();
    if (run.log) {
      extras.slow_ranks = run.stragglers.names_of(record.slow_ranks);
      for (const std::string& line : run.stragglers.add(record.slow_ranks)) run.log->say(line);
    }
    // A generation that is done once more tells of its losses once more.
    std::ranges::copy_if(
        run.regroupings, std::back_inserter(extras.regroupings),
        [&](const Regrouping& each) { return each.generation == plan.generation; });
    extras.alpha = alpha_at(config, plan.generation);
    has_record = true;
    stopping |= record.stop_requested;
    run.position = {plan.generation + 1, task.advance(plan.data_position)};
  }
}

}  // namespace eggroll
