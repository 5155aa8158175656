// A checkpoint that a person named, as a file or as the folder of its run: open and verified, or a
// ConfigError of one line with the option that named it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/config.hpp"
#include "common/files/checkpoint.hpp"
#include "common/files/checkpoint_folder.hpp"
#include "common/layout.hpp"

namespace eggroll {

// What an error says, without the path that it may begin with.
std::string without_path(const Error& error, const std::filesystem::path& path);

// The newest checkpoint of a folder that is intact; says on stderr which it passed over. Throws Error
// where there is none.
CheckpointReader open_newest_checkpoint(const std::filesystem::path& folder);

// The checkpoint of a file, or the newest complete one of a folder; verified.
CheckpointReader open_checkpoint(const std::string& option, const std::filesystem::path& path);

// The configuration it holds.
RunConfig config_in(const CheckpointReader& reader, const std::filesystem::path& path);

// The layout it states, or that of its configuration where it states none.
ParameterLayout layout_in(const CheckpointReader& reader, const std::filesystem::path& path);

// Parameters for this layout. Throws ConfigError where the file holds others.
std::vector<std::byte> parameters_for(const CheckpointReader& reader, const std::string& option,
                                      const std::filesystem::path& path,
                                      const ParameterLayout& layout);

}  // namespace eggroll
