# eggroll_embed_models(<variable> <folder> <file> ...) writes a source of worker/control/mujoco/embedded_models.hpp with the text
# of the files, while CMake configures, and leaves its path in the variable. A file that changes configures anew.
function(eggroll_embed_models variable folder)
  set(rows "")
  foreach(file IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${folder}/${file}")
    file(READ "${folder}/${file}" text)
    string(APPEND rows "  if (file_name == \"${file}\") return R\"mjcf(${text})mjcf\";\n")
  endforeach()
  set(source "${CMAKE_CURRENT_BINARY_DIR}/embedded_models.cpp")
  file(CONFIGURE OUTPUT "${source}" @ONLY CONTENT
"#include \"worker/control/mujoco/embedded_models.hpp\"

namespace eggroll {

std::optional<std::string_view> embedded_model(std::string_view file_name) {
@rows@  return std::nullopt;
}

}  // namespace eggroll
")
  set(${variable} "${source}" PARENT_SCOPE)
endfunction()
