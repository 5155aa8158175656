// The environments of Box2D as rows of the table of environments; without makers where the library was not
// found when the program was built (absent.cpp).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "worker/control/environment_type.hpp"

namespace eggroll {

inline constexpr const char* kBox2dPackage = "libbox2d-dev";
inline constexpr std::array kBox2dEnvironments = {"LunarLander-v3", "LunarLanderContinuous-v3",
                                                  "BipedalWalker-v3"};

std::vector<EnvironmentType> box2d_environments();
std::string box2d_library();  // "Box2D 2.4.1"; empty where it was not found

}  // namespace eggroll
