// What there is of Box2D in a build that has not found it: the names, and what brings them.
#include "worker/control/box2d/box2d_types.hpp"

namespace eggroll {

std::vector<EnvironmentType> box2d_environments() {
  return absent_environments(kBox2dEnvironments, kBox2dPackage);
}

std::string box2d_library() { return ""; }

}  // namespace eggroll
