// The checkpoints in the folder of a run: their names, the newest that is intact, those that go.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/files/checkpoint.hpp"

namespace eggroll {

inline constexpr const char* kPartialSuffix = ".partial";  // of a file that is being written

// run/checkpoint-000001000.h5
std::filesystem::path checkpoint_path(const std::filesystem::path& run, uint64_t generation);
// Checkpoints of a run directory, newest first; files that are being written are not listed.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& run);
// The generation in a file name that checkpoint_path made.
std::optional<uint64_t> checkpoint_generation(const std::filesystem::path& path);
// The folder of the run that a checkpoint belongs to, which may be that folder itself or a link to
// either; none where a file has not the name of a checkpoint of a run.
std::optional<std::filesystem::path> run_folder_of(const std::filesystem::path& checkpoint);
// The newest checkpoint of `run` that verifies, open. `passed_over(path, why)` hears of each newer
// one that does not. Where a run writes into the folder and prunes it meanwhile, the newest of
// those that are there then. Throws Error when none.
CheckpointReader newest_checkpoint(
    const std::filesystem::path& run,
    const std::function<void(const std::filesystem::path&, const std::string&)>& passed_over);
// Of the checkpoints up to generation `newest` removes all but the newest `keep`, and partial files
// left by a run that was killed. Later ones, which a resumed run passed over or has not come to
// yet, stay and do not count. Removes what it can; then throws Error where it could not.
void prune_checkpoints(const std::filesystem::path& run, uint64_t keep, uint64_t newest);

}  // namespace eggroll
