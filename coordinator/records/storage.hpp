// What rank 0 decides about a run's disk: when a checkpoint is due, and what becomes of the run
// when one, or its metrics, cannot be written. A failure is said in one line, with the newest
// complete checkpoint, which stays; then --on-storage-failure decides. The last checkpoint of a run
// is not a matter of that option: where it cannot be written, the run has failed.
//
// Between two generations, on rank 0:
//   review()                what the disk has done since; may make must_stop() true
//   takes_checkpoint(...)   true: the next act of all ranks is start_snapshot(..., &writer())
//   settle()                at the end of the run: what is under way comes to the disk, or has failed
// and in the end failure() is the run's verdict.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/records/metrics_file.hpp"
#include "coordinator/records/snapshot_writer.hpp"

namespace eggroll {

// For a checkpoint beside those due by generations and by the clock.
enum class CheckpointWish { none, asked, last };

class Storage {
 public:
  // metrics outlives it; complain prints one line on standard error.
  Storage(const RunConfig& config, uint64_t completed, MetricsFile& metrics,
          std::function<void(const std::string&)> complain);

  void review();
  // After so many completed generations. Counted by generations or by the clock it is put off while
  // the one before is being written; asked for or the last of the run it is not.
  bool takes_checkpoint(uint64_t completed, CheckpointWish wish);
  SnapshotWriter& writer() { return writer_; }
  // The checkpoints that have come to the disk since the last call, oldest first.
  std::vector<SnapshotOutcome> take_written();
  // Asks for the end of the run: --on-storage-failure stop, or metrics that fill the memory.
  bool must_stop() const { return !reason_to_stop_.empty(); }
  void settle();
  // Why a run that ends after so many generations has failed, in one line; empty: it has not.
  std::string failure(uint64_t completed);

 private:
  void review_checkpoint(const SnapshotOutcome& outcome);
  void checkpoint_failed(uint64_t generation, const std::string& why);
  void review_metrics();
  void stop_because(const std::string& what);
  std::string newest_words() const;

  const RunConfig config_;
  MetricsFile& metrics_;
  const std::function<void(const std::string&)> complain_;
  Stopwatch since_checkpoint_;
  bool is_owed_ = false;             // put off
  bool is_last_ = false;             // the one under way is the last of the run
  uint64_t failed_checkpoints_ = 0;  // in a row
  uint64_t failed_metrics_ = 0;      // attempts, as last seen
  uint64_t waiting_metrics_ = 0;
  std::string newest_;  // the newest complete checkpoint; empty: none
  std::optional<uint64_t> newest_generation_;
  std::vector<SnapshotOutcome> written_;
  std::string reason_to_stop_;
  std::string last_checkpoint_error_;
  SnapshotWriter writer_;  // destroyed first
};

}  // namespace eggroll
