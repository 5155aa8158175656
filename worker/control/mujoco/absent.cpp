// What there is of MuJoCo in a build that has not found it: the names, and what brings them.
#include "worker/control/mujoco/mujoco_types.hpp"

namespace eggroll {

std::vector<EnvironmentType> mujoco_environments() {
  return absent_environments(kMujocoEnvironments, kMujocoPackage);
}

std::string mujoco_library() { return ""; }

}  // namespace eggroll
