// The environments of MuJoCo as rows of the table of environments; without makers where the library was not
// found when the program was built (absent.cpp).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "worker/control/environment_type.hpp"

namespace eggroll {

inline constexpr const char* kMujocoPackage = "libmujoco-dev";
inline constexpr std::array kMujocoEnvironments = {
    "InvertedPendulum-v5", "InvertedDoublePendulum-v5",
    "Reacher-v5",          "Swimmer-v5",
    "Hopper-v5",           "HalfCheetah-v5",
    "Walker2d-v5",         "Ant-v5",
    "Humanoid-v5",         "HumanoidStandup-v5"};

std::vector<EnvironmentType> mujoco_environments();
std::string mujoco_library();  // "MuJoCo 2.2.2"; empty where it was not found

}  // namespace eggroll
