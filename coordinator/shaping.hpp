// Fitness -> utility differences d_j, one small integer a pair. Runs on rank 0.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/rules.hpp"

namespace eggroll {

struct ShapedPopulation {
  std::vector<int8_t> d;        // [pairs]
  uint64_t sum_squares = 0;     // sum_j d_j^2
  uint64_t sum_magnitudes = 0;  // sum_j |d_j|
  uint64_t ties = 0;            // pairs whose members scored the same
};

// difference[j] = fitness of member 2 j - fitness of member 2 j + 1.
//   sign    d_j = sign(difference)
//   levels  sign(difference) times 0, 1 or 2 by its size within the population: sizes below the
//   value at rank floor(n / 3) of the sorted
//           sizes count 0, sizes from the value at rank floor(79 n / 100) on count 2. Decided by
//           value, so equal sizes are treated alike.
ShapedPopulation shape(std::span<const int32_t> difference, FitnessRule rule);

}  // namespace eggroll
