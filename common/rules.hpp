// The named choices of a run. One word means the same in the config, in the code and in the documents.
#pragma once

#include <cstdint>

namespace eggroll {

enum class Rounding { nearest, floor };  // of a perturbation to the grid of integer weights
enum class Carry { own, pair, reset };   // what a member's hidden state starts a generation from
enum class Sampling {
  antithetic,   // the members of a pair share a perturbation, with opposite signs
  independent,  // each member has one of its own
};
enum class Perturbation {
  low_rank,  // of float matrices: A B^T / sqrt(r)
  full,      // a number for each weight (OpenES)
};
// How fitness becomes utility; coordinator/shaping.hpp.
enum class FitnessRule { sign, levels, raw, z_score, centred_rank, group };
// Whether it compares the two members of a pair, and nothing else.
constexpr bool compares_pairs(FitnessRule rule) {
  return rule == FitnessRule::sign || rule == FitnessRule::levels;
}
// |d|: five digits of base 5, each of them -2 ... 2; and the largest that a rule gives.
inline constexpr int kLargestUtility = 1562;
constexpr int largest_utility(FitnessRule rule) {
  return rule == FitnessRule::sign ? 1 : rule == FitnessRule::levels ? 2 : kLargestUtility;
}
// How fitness travels: 4 bytes a member, or 5 pairs a byte.
enum class FitnessEncoding { int32, ternary, float32 };
enum class TileSchedule { automatic, fixed, dynamic };  // who evaluates which tile
enum class DeviceChoice { automatic, cpu, cuda };       // what computes
enum class AllReduce { automatic, mpi, nccl };          // what adds up perturbations over ranks
enum class StepMode { replicated, sharded };            // which parameters a rank steps

// Hidden states that a pair keeps from generation to generation.
constexpr uint64_t state_slots_per_pair(Carry carry) {
  return carry == Carry::own ? 2 : carry == Carry::pair ? 1 : 0;
}

}  // namespace eggroll
