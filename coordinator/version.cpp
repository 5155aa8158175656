#include "coordinator/version.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "common/files/checkpoint.hpp"
#include "common/messages/collectives.hpp"
#include "worker/control/environment_types.hpp"

namespace eggroll {

std::string version() { return EGGROLL_VERSION; }

std::string version_line() {
  std::vector<std::string> libraries = {mpi_library(), checkpoint_library()};
  for (std::string& library : physics_libraries()) libraries.push_back(std::move(library));
  return fmt::format("eggroll {}: {}", version(), fmt::join(libraries, ", "));
}

}  // namespace eggroll
