// Brings snapshots to the disk in a thread of its own, so that the generations go on meanwhile.
// Rank 0 hands over what is learnt and slices of states; all of HDF5, checksums, syncing,
// renaming and pruning is the thread's. It sends no messages. One snapshot at a time; the slices
// that wait take no more memory than the budget, beyond which append_states waits for the disk.
//
//   begin, append_states ..., commit      then is_busy() until the outcome is there
//   begin, append_states ..., abandon     leaves nothing behind
//
// A disk that fails is an outcome with an error: from then on slices are taken and dropped, so
// that the gather ends as it would have.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/files/checkpoint.hpp"
#include "common/layout.hpp"

namespace eggroll {

inline constexpr uint64_t kSnapshotBudgetBytes = uint64_t{256} << 20;

// What a checkpoint begins with.
struct SnapshotStart {
  CheckpointHeader header;
  ParameterLayout layout;
  RunArenas state;
};

struct SnapshotOutcome {
  uint64_t generation = 0;
  double write_s = 0;       // from begin until it was on the disk, or failed
  uint64_t bytes = 0;       // of the file
  std::string error;        // why there is no such checkpoint; empty: it is on the disk
  std::string prune_error;  // why an older one is still there that should have gone
};

struct SnapshotWriterSettings {
  std::filesystem::path run;
  uint64_t keep_checkpoints = 1;
  uint64_t budget_bytes = kSnapshotBudgetBytes;
};

class SnapshotWriter {
 public:
  explicit SnapshotWriter(SnapshotWriterSettings settings);
  // What is not committed is abandoned. What is gets a few seconds to reach the disk; a disk that
  // does not answer keeps nobody longer.
  ~SnapshotWriter();
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  // Waits for the one before.
  void begin(SnapshotStart start);
  // The next states in the order of the members, in whole slots.
  void append_states(std::vector<std::byte> values);
  void commit();
  // The one begun and not committed, if any. Does not wait.
  void abandon();

  bool is_busy() const;                          // begun, and neither on the disk nor failed
  std::vector<SnapshotOutcome> take_outcomes();  // those since the last call, oldest first
  void wait() const;                             // until it is not busy; of a committed one
  uint64_t queued_bytes() const;                 // of states that wait for the disk; for tests

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace eggroll
