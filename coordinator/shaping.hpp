// Fitness -> utilities as integers, once, on rank 0. What travels from here is small integers d, so
// the sum over the population is exact on any ranks, threads and devices (kernels/learner.hpp).
// Sums in here run over members in their order, in one fixed tree, and nothing of a maths library
// is asked but sqrt: the same fitness gives the same d on every machine.
//
// A fitness that is not finite counts as the worst finite one of the generation. Finite ends at the
// largest float, as fitness travels in 4 bytes. Where none is finite, or all are equal, every d is 0.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/rules.hpp"
#include "worker/task.hpp"

namespace eggroll {

struct ShapingSettings {
  FitnessRule rule = FitnessRule::levels;
  Sampling sampling = Sampling::antithetic;
  uint32_t group_size = 2;  // even, divides the members; consecutive ones that saw the same data
};

struct ShapedPopulation {
  // [pairs] antithetic: (w_2j - w_2j+1) / unit; [members] independent: w_i / unit. At most
  // kLargestUtility in size.
  std::vector<int16_t> d;
  double unit = 1;              // of utility, that d = 1 stands for
  uint64_t sum_squares = 0;     // sum d^2
  uint64_t sum_magnitudes = 0;  // sum |d|
  uint64_t active = 0;          // d that are not 0
  uint64_t ties = 0;            // pairs 2j, 2j + 1 that scored the same
  FitnessSummary fitness;       // as it came, before any rule; zeros where none is finite
};

// The utility w of each member, from its fitness f (arXiv 2511.16652, section 4, and Salimans et
// al. 2017 for ranks). Deviations are of the population, with 1e-5 added to the variance.
//   sign          w_2j - w_2j+1 = sign(f_2j - f_2j+1); antithetic pairs only, as is
//   levels        that sign times 0, 1 or 2 by the size of the difference within the population: sizes
//                 below the value at rank floor(n / 3) of the n sorted sizes count 0, from the value at
//                 rank floor(79 n / 100) on 2, all between 1. By value, so equal sizes count alike
//   raw           w = f
//   z_score       w = (f - mean) / deviation
//   centred_rank  w in [-0.5, 0.5] by rank; equal fitness shares the middle of its ranks
//   group         w = (f - mean of its group) / deviation of all these differences
// sign and levels are their d. The real ones are rounded, halves away from zero, to a unit that
// makes the largest kLargestUtility; where they are multiples of one whole number that need no more
// than that (returns, the ranks of up to 1562 members without ties), they are exact, with the
// smallest d there are.
// fitness: [members], an even number of them.
ShapedPopulation shape(std::span<const double> fitness, const ShapingSettings& settings);

}  // namespace eggroll
