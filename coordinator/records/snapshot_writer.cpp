#include "coordinator/records/snapshot_writer.hpp"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

#include "common/check.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/start_thread.hpp"
#include "common/stopwatch.hpp"

namespace eggroll {
namespace {

constexpr std::chrono::seconds kFarewell(10);  // for a committed snapshot of a run that ends

// How the snapshot that the thread works on stands with the caller.
enum class Stage { none, begun, committed, abandoned };

// From the thread that this lives in, and from those that it starts for all their lives.
class SignalsHeldBack {
 public:
  SignalsHeldBack() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsHeldBack() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

// Owned by the object and its thread, of which either may be the last.
struct SnapshotWriter::Shared {
  const SnapshotWriterSettings settings;

  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  Stage stage = Stage::none;
  bool is_ending = false;
  bool has_failed = false;  // the disk: slices are dropped
  std::optional<SnapshotStart> start;
  std::deque<std::vector<std::byte>> slices;
  uint64_t queued_bytes = 0;  // of the slices, and of the one in the thread's hands
  std::vector<SnapshotOutcome> outcomes;
  Stopwatch since_begin;

  explicit Shared(SnapshotWriterSettings wanted) : settings(std::move(wanted)) {}

  void run() {
    for (;;) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return start || is_ending; });
      if (!start) return;
      SnapshotStart taken = *std::exchange(start, std::nullopt);
      lock.unlock();
      SnapshotOutcome outcome = write(taken);
      lock.lock();
      outcome.write_s = since_begin.elapsed_s();
      if (stage == Stage::committed) outcomes.push_back(std::move(outcome));
      stage = Stage::none;
      has_failed = false;
      drop_slices();
      changed.notify_all();
    }
  }

  // Catches, as what leaves a thread ends the process: the main thread hears of it as an outcome.
  SnapshotOutcome write(SnapshotStart& from) {
    SnapshotOutcome outcome;
    outcome.generation = from.header.generation;
    try {
      const std::filesystem::path path = checkpoint_path(settings.run, outcome.generation);
      CheckpointWriter writer(path, from.layout, from.header, from.state.spans());
      from.state = {};
      for (std::vector<std::byte> slice; next_slice(slice);) writer.append_states(slice);
      if (is_abandoned()) return outcome;  // and the file goes with its writer
      writer.finish();
      std::error_code ignored;
      outcome.bytes = std::filesystem::file_size(path, ignored);
    } catch (const std::exception& e) {
      outcome.error = e.what();
      drop_the_rest();
      return outcome;
    }
    try {
      prune_checkpoints(settings.run, settings.keep_checkpoints, outcome.generation);
    } catch (const std::exception& e) {
      outcome.prune_error = e.what();
    }
    return outcome;
  }

  // False when the states are complete, or abandoned.
  bool next_slice(std::vector<std::byte>& slice) {
    std::unique_lock lock(mutex);
    queued_bytes -= slice.size();
    slice = {};
    changed.notify_all();
    changed.wait(lock, [&] { return !slices.empty() || stage != Stage::begun; });
    if (stage == Stage::abandoned || slices.empty()) return false;
    slice = std::move(slices.front());
    slices.pop_front();
    return true;
  }

  bool is_abandoned() const {
    const std::lock_guard lock(mutex);
    return stage == Stage::abandoned;
  }

  void drop_the_rest() {
    std::unique_lock lock(mutex);
    has_failed = true;
    drop_slices();
    changed.notify_all();
    changed.wait(lock, [&] { return stage != Stage::begun; });
  }

  void drop_slices() {
    slices.clear();
    queued_bytes = 0;
  }
};

SnapshotWriter::SnapshotWriter(SnapshotWriterSettings settings)
    : shared_(std::make_shared<Shared>(std::move(settings))) {
  const SignalsHeldBack held_back;  // they are the main thread's
  thread_ = start_thread([shared = shared_] { shared->run(); });
}

SnapshotWriter::~SnapshotWriter() {
  std::unique_lock lock(shared_->mutex);
  shared_->is_ending = true;
  if (shared_->stage == Stage::begun) shared_->stage = Stage::abandoned;
  shared_->changed.notify_all();
  const bool is_done =
      shared_->changed.wait_for(lock, kFarewell, [&] { return shared_->stage == Stage::none; });
  lock.unlock();
  if (is_done)
    thread_.join();
  else
    thread_.detach();
}

void SnapshotWriter::begin(SnapshotStart start) {
  std::unique_lock lock(shared_->mutex);
  require(shared_->stage != Stage::begun, "snapshot: one at a time");
  shared_->changed.wait(lock, [&] { return shared_->stage == Stage::none; });
  shared_->start = std::move(start);
  shared_->stage = Stage::begun;
  shared_->since_begin.lap_s();
  shared_->changed.notify_all();
}

void SnapshotWriter::append_states(std::vector<std::byte> values) {
  std::unique_lock lock(shared_->mutex);
  require(shared_->stage == Stage::begun, "snapshot: states after begin and before commit");
  const auto has_room = [&] {
    return shared_->queued_bytes == 0 ||
           shared_->queued_bytes + values.size() <= shared_->settings.budget_bytes;
  };
  shared_->changed.wait(lock, [&] { return shared_->has_failed || has_room(); });
  if (shared_->has_failed) return;
  shared_->queued_bytes += values.size();
  shared_->slices.push_back(std::move(values));
  shared_->changed.notify_all();
}

void SnapshotWriter::commit() {
  const std::lock_guard lock(shared_->mutex);
  require(shared_->stage == Stage::begun, "snapshot: commit after begin");
  shared_->stage = Stage::committed;
  shared_->changed.notify_all();
}

void SnapshotWriter::abandon() {
  const std::lock_guard lock(shared_->mutex);
  if (shared_->stage != Stage::begun) return;
  shared_->stage = Stage::abandoned;
  shared_->changed.notify_all();
}

bool SnapshotWriter::is_busy() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->stage != Stage::none;
}

std::vector<SnapshotOutcome> SnapshotWriter::take_outcomes() {
  const std::lock_guard lock(shared_->mutex);
  return std::exchange(shared_->outcomes, {});
}

void SnapshotWriter::wait() const {
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait(
      lock, [&] { return shared_->stage == Stage::none || shared_->stage == Stage::begun; });
}

uint64_t SnapshotWriter::queued_bytes() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->queued_bytes;
}

}  // namespace eggroll
