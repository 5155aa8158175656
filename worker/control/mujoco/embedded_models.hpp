// The MJCF files of worker/control/mujoco/models, inside the program, so that it finds them wherever it is
// installed. cmake/EmbedModels.cmake makes the source of this header while CMake configures.
#pragma once

#include <optional>
#include <string_view>

namespace eggroll {

// The text of a file, by its name ("hopper.xml"); nothing where there is none of that name.
std::optional<std::string_view> embedded_model(std::string_view file_name);

}  // namespace eggroll
