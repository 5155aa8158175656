// The named choices of a run. One word means the same in the config, in the code and in the
// documents.
#pragma once

#include <cstdint>

namespace eggroll {

enum class Rounding { nearest, floor };   // of a perturbation to the grid of the weights
enum class Carry { own, pair, reset };    // what a member's hidden state starts a generation from
enum class FitnessRule { sign, levels };  // what a pair's two scores say: {-1, 0, 1} or {-2 ... 2}
enum class FitnessEncoding {
  int32,
  ternary
};  // how fitness travels: 4 bytes a member, or 5 pairs a byte
enum class TileSchedule { automatic, fixed, dynamic };  // who evaluates which tile
enum class DeviceChoice { automatic, cpu, cuda };       // what computes
enum class AllReduce { automatic, mpi, nccl };          // what adds up evidence over ranks
enum class StepMode { replicated, sharded };            // which parameters a rank steps
enum class UpdateRule { threshold, sigma_delta };       // how summed evidence moves a weight

// Hidden states that a pair keeps from generation to generation.
constexpr uint64_t state_slots_per_pair(Carry carry) {
  return carry == Carry::own ? 2 : carry == Carry::pair ? 1 : 0;
}

}  // namespace eggroll
