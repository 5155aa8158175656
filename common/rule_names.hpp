// The names of the choices of common/rules.hpp, as options: what configurations and command lines call
// them.
#pragma once

#include "common/options.hpp"
#include "common/rules.hpp"

namespace eggroll {

template <>
inline constexpr std::array<std::string_view, 2> kNames<Rounding> = {"nearest", "floor"};
template <>
inline constexpr std::array<std::string_view, 3> kNames<Carry> = {"own", "pair", "reset"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<Sampling> = {"antithetic", "independent"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<Perturbation> = {"low-rank", "full"};
template <>
inline constexpr std::array<std::string_view, 6> kNames<FitnessRule> = {
    "sign", "levels", "raw", "z-score", "centred-rank", "group"};
template <>
inline constexpr std::array<std::string_view, 3> kNames<FitnessEncoding> = {"int32", "ternary",
                                                                            "float32"};
template <>
inline constexpr std::array<std::string_view, 3> kNames<TileSchedule> = {"auto", "static",
                                                                         "dynamic"};
template <>
inline constexpr std::array<std::string_view, 3> kNames<DeviceChoice> = {"auto", "cpu", "cuda"};
template <>
inline constexpr std::array<std::string_view, 3> kNames<AllReduce> = {"auto", "mpi", "nccl"};
template <>
inline constexpr std::array<std::string_view, 2> kNames<StepMode> = {"replicated", "sharded"};

}  // namespace eggroll
