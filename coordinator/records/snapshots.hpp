// What a run keeps and goes on from. Rank 0 alone touches files; states come to it and go from it
// in slices, so the file is the same for any number of ranks and no rank holds the states of all.
// The main thread gathers, a thread of rank 0 writes (snapshot_writer.hpp).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "common/check.hpp"
#include "common/config.hpp"
#include "common/files/checkpoint.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/messages/collectives.hpp"
#include "coordinator/records/snapshot_writer.hpp"
#include "worker/task.hpp"

namespace eggroll {

struct RunPosition {
  uint64_t generation = 0;     // completed generations
  uint64_t data_position = 0;  // in each sequence's slice
};

// For run/checkpoint-<generation>.h5, and the removal of those beyond config.keep_checkpoints.
SnapshotWriterSettings snapshot_settings(const RunConfig& config);
// Collective. Returns when the writer has all it needs, and its disk is at work on it. writer: rank
// 0's, nullptr elsewhere.
void start_snapshot(const RunConfig& config, Collectives& group, Task& task,
                    const RunPosition& position, SnapshotWriter* writer);
// Collective. The same with a writer of its own, and rank 0 waits for the disk; throws Error where
// it fails.
void write_snapshot(const RunConfig& config, Collectives& group, Task& task,
                    const RunPosition& position);

// Collective. Fills the backends from an open checkpoint (rank 0) and returns where it stands.
RunPosition load_snapshot(const CheckpointReader* reader, const RunConfig& config,
                          Collectives& group, Task& task);

// What a new run starts from: the parameters of --init, or those the seed gives; everything else
// starts at zero.
std::vector<int8_t> start_parameters(const RunConfig& config);

// What an error says, without the path that it may begin with.
std::string without_path(const Error& error, const std::filesystem::path& path);

// The newest checkpoint of a folder that is intact; says on stderr which it passed over. Throws
// Error where there is none.
CheckpointReader open_newest_checkpoint(const std::filesystem::path& folder);

// Collective. Rank 0's parameters to all, and nothing gathered yet: the start of a run.
void begin_with(Collectives& group, Task& task, UpdateRule update, std::vector<int8_t> parameters);

// The checkpoint of a file, or the newest complete one of a folder (says on stderr which it passed
// over); verified. Throws
// ConfigError, with the option that named it.
CheckpointReader open_checkpoint(const std::string& option, const std::filesystem::path& path);

// Parameters for this shape out of a checkpoint. Throws ConfigError where the file's layout is
// another.
std::vector<int8_t> parameters_for(const CheckpointReader& reader,
                                   const std::filesystem::path& path, const IntRnnShape& shape);

std::string current_digest(Backend& backend, UpdateRule update);

}  // namespace eggroll
