// The paper's rule for integer weights (arXiv 2511.16652, appendix G): a weight moves by sign(Z) where
// |Z| reaches a threshold. Z = 0 never moves it.
#pragma once

#include <algorithm>

#include "kernels/fixed_point.hpp"
#include "kernels/optimizers/share.hpp"

namespace eggroll {

struct Threshold {
  static constexpr const char* kName = "threshold";
  static constexpr const char* kHelp = "by one step where a generation's sum passes a threshold";
  static constexpr Element kMoves = Element::int8;
  static constexpr std::array<Slot, 0> kSlots = {};
  static constexpr bool kStepsWithoutUpdate = false;
  using Settings = ShareSettings;
  struct Numbers {
    int64_t threshold;
  };

  // 16 |Z| >= normal_quantile_16(alpha_t) s
  static Numbers numbers(const Settings& settings, const StepContext& context) {
    const int64_t deviation = noise_deviation(context);
    const double alpha = settings.at(context.generation, context.generations);
    return {std::max<int64_t>(1, (normal_quantile_16(alpha) * deviation + 15) / 16)};
  }
  static StepMetrics metrics(const Settings& settings, const StepContext& context) {
    return {{"alpha", settings.at(context.generation, context.generations)},
            {"matrix_threshold", static_cast<double>(numbers(settings, context).threshold)}};
  }
  static void check(const Settings&, const StepContext& last) { check_deviation(last); }

  // Whether the weight moved.
  EGGROLL_HD static bool step(int64_t z, const Numbers& numbers, int8_t& weight) {
    if (z == 0 || (z < 0 ? -z : z) < numbers.threshold) return false;
    const int32_t next = clip8(weight + (z < 0 ? -1 : 1));
    const bool changed = next != weight;
    weight = static_cast<int8_t>(next);
    return changed;
  }
};

}  // namespace eggroll
