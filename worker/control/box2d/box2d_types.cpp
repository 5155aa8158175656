#include "worker/control/box2d/box2d_types.hpp"

#include "worker/control/box2d/bipedal_walker.hpp"
#include "worker/control/box2d/lunar_lander.hpp"
#include "worker/control/box2d/planar_world.hpp"

namespace eggroll {
namespace {

template <typename Make>
EnvironmentType type_of(const Make& make) {
  using Environment = decltype(make());
  return {
      .name = make().spec().name,
      .package = kBox2dPackage,
      .make = [make](const EnvironmentSettings&, size_t slots) -> std::unique_ptr<Environments> {
        return std::make_unique<EachSlot<Environment>>(slots, make);
      },
      .arithmetic = [](const EnvironmentSettings&) { return planar_world_version(); }};
}

}  // namespace

std::vector<EnvironmentType> box2d_environments() {
  return {type_of([] { return LunarLander(LunarLander::Actions::discrete); }),
          type_of([] { return LunarLander(LunarLander::Actions::continuous); }),
          type_of([] { return BipedalWalker(); })};
}

std::string box2d_library() { return planar_world_version(); }

}  // namespace eggroll
