// What every optimiser is made of.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/generation_plan.hpp"
#include "common/layout.hpp"
#include "common/noise.hpp"
#include "common/options.hpp"
#include "common/rng.hpp"
#include "common/schedule.hpp"

namespace eggroll {

// Numbers that an optimiser keeps, one for each trained weight: an arena of its own, a group in the
// checkpoint.
struct Slot {
  const char* name;
  Element element;
};

// The type of an element.
template <Element kElement>
using ElementType =
    std::conditional_t<kElement == Element::int8, int8_t,
                       std::conditional_t<kElement == Element::int32, int32_t, float>>;

// What a step's numbers depend on.
struct StepContext {
  uint64_t generation = 0;   // completed before it
  uint64_t generations = 1;  // planned
  uint64_t population = 2;   // members
  uint64_t sum_squares = 0;  // sum_j d_j^2
  double unit = 1;           // of utility, that d_j = 1 stands for
  Noise noise = Noise::low_rank;
  int noise_rank = 1;
};

// What a person may want to know of a step, as name and value: keys of metrics.jsonl.
using StepMetrics = std::vector<std::pair<std::string, double>>;

// g = scale Z: the mean over members of utility times perturbation, 1/N sum_i w_i E_i, with elements of
// noise in sixteenths.
inline double gradient_scale(const StepContext& context) {
  const double of_noise = context.noise == Noise::low_rank
                              ? 256.0 * std::sqrt(static_cast<double>(context.noise_rank))
                          : context.noise == Noise::product ? 256.0
                                                            : 16.0;
  return context.unit / (static_cast<double>(context.population) * of_noise);
}

// scale Z of a weight, rounded once; |Z| up to 2^53.
EGGROLL_HD inline float scaled(double scale, int64_t z) {
  return static_cast<float>(scale * static_cast<double>(z));
}

}  // namespace eggroll
