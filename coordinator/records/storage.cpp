#include "coordinator/records/storage.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "common/files/checkpoint_folder.hpp"

namespace eggroll {
namespace {

std::string times(uint64_t count) {
  return count == 1 ? "once" : fmt::format("{} times in a row", count);
}

}  // namespace

Storage::Storage(const RunConfig& config, uint64_t completed, MetricsFile& metrics,
                 std::function<void(const std::string&)> complain)
    : config_(config),
      metrics_(metrics),
      complain_(std::move(complain)),
      writer_({.run = config.run, .keep_checkpoints = config.keep_checkpoints}) {
  if (config.resume.empty()) return;
  const std::filesystem::path here = checkpoint_path(config.run, completed);
  std::error_code error;
  newest_ = std::filesystem::exists(here, error) ? here.string() : config.resume;
  newest_generation_ = completed;
}

void Storage::review() {
  for (const SnapshotOutcome& outcome : writer_.take_outcomes()) review_checkpoint(outcome);
  review_metrics();
}

void Storage::review_checkpoint(const SnapshotOutcome& outcome) {
  if (!outcome.error.empty()) {
    checkpoint_failed(outcome.generation, outcome.error);
    return;
  }
  newest_ = checkpoint_path(config_.run, outcome.generation).string();
  newest_generation_ = outcome.generation;
  written_.push_back(outcome);
  if (failed_checkpoints_ > 0)
    complain_(fmt::format("{} is written, after checkpoints had failed {}", newest_,
                          times(failed_checkpoints_)));
  failed_checkpoints_ = 0;
  if (!outcome.prune_error.empty())
    complain_(fmt::format("{} is written, but of the older ones {}; the run goes on", newest_,
                          outcome.prune_error));
}

void Storage::checkpoint_failed(uint64_t generation, const std::string& why) {
  ++failed_checkpoints_;
  if (is_last_) {
    last_checkpoint_error_ = why;
    return;
  }
  const std::string what = fmt::format("no checkpoint of generation {}: {} (failed {}); {}",
                                       generation, why, times(failed_checkpoints_), newest_words());
  if (config_.on_storage_failure == OnStorageFailure::stop)
    stop_because(what);
  else
    complain_(what + "; the run goes on and tries again when the next is due");
}

void Storage::review_metrics() {
  const std::string path = metrics_.path().string();
  const uint64_t before = std::exchange(failed_metrics_, metrics_.failed_attempts());
  const uint64_t waited = std::exchange(waiting_metrics_, metrics_.waiting_lines());
  if (before > 0 && failed_metrics_ == 0)
    complain_(fmt::format("{}: written again, with the {} records that had waited; failed {}", path,
                          waited, times(before)));
  if (before == 0 && failed_metrics_ > 0) {
    const std::string what = fmt::format("{}: {}; {}", path, metrics_.error(), newest_words());
    if (config_.on_storage_failure == OnStorageFailure::stop)
      stop_because(what);
    else
      complain_(what +
                "; the run goes on and keeps its records in memory until they can be "
                "written");
  }
  if (metrics_.is_beyond_budget())
    stop_because(fmt::format("{}: {} ({} times), and {} records wait in memory, no more fit; {}",
                             path, metrics_.error(), failed_metrics_, waiting_metrics_,
                             newest_words()));
}

void Storage::stop_because(const std::string& what) {
  if (must_stop()) return;
  reason_to_stop_ = what;
  complain_(what + "; the run stops");
}

std::string Storage::newest_words() const {
  if (!newest_generation_) return "there is no complete checkpoint yet";
  return fmt::format("the newest complete one is {}", newest_);
}

bool Storage::takes_checkpoint(uint64_t completed, CheckpointWish wish) {
  const bool by_generation =
      config_.checkpoint_every != 0 && completed % config_.checkpoint_every == 0;
  const bool by_clock =
      config_.checkpoint_seconds != 0 &&
      since_checkpoint_.elapsed_s() >= static_cast<double>(config_.checkpoint_seconds);
  is_owed_ |= by_generation || by_clock;
  is_last_ = wish == CheckpointWish::last;
  if (wish == CheckpointWish::none && (!is_owed_ || writer_.is_busy())) return false;
  if (is_last_) {
    // So that a failure of the one before is not taken for one of the last.
    writer_.wait();
    is_last_ = false;
    review();
    is_last_ = true;
  }
  is_owed_ = false;
  since_checkpoint_.lap_s();
  // Where a file system has gone away, the folder below it is not the place for a checkpoint.
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::path(config_.run) / "config.ini", error)) {
    checkpoint_failed(completed,
                      fmt::format("{}: the folder of the run is gone: {}", config_.run,
                                  error ? error.message() : "its config.ini is not there"));
    return false;
  }
  return true;
}

std::vector<SnapshotOutcome> Storage::take_written() { return std::exchange(written_, {}); }

void Storage::settle() {
  writer_.wait();
  review();
}

std::string Storage::failure(uint64_t completed) {
  settle();
  metrics_.sync();
  review_metrics();
  if (!last_checkpoint_error_.empty()) {
    const uint64_t first_lost = newest_generation_.value_or(0) + 1;
    // Those of the generations that are lost come again with them.
    const uint64_t records =
        metrics_.waiting_lines() - std::min(metrics_.waiting_lines(), completed + 1 - first_lost);
    return fmt::format(
        "the last checkpoint cannot be written: {}; lost are generations {} to {}{}; {}",
        last_checkpoint_error_, first_lost, completed,
        records == 0 ? "" : fmt::format(" and the records of {} before them", records),
        newest_generation_ ? fmt::format("the newest complete one is {}, go on with: eggroll train "
                                         "--resume {}",
                                         newest_, config_.run)
                           : "there is no complete one");
  }
  if (!metrics_.error().empty())
    return fmt::format("{}: {}; lost are the records of {} generations; {}",
                       metrics_.path().string(), metrics_.error(), metrics_.waiting_lines(),
                       newest_words());
  if (must_stop())
    return fmt::format("stopped after generation {}, as the disk had failed; {}", completed,
                       newest_words());
  return "";
}

}  // namespace eggroll
