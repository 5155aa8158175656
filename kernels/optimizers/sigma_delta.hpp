// Sums are kept over generations: M += Z, and a weight moves by the number of whole thresholds in M,
// which M loses. |M| is below the threshold afterwards.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>

#include "kernels/fixed_point.hpp"
#include "kernels/optimizers/share.hpp"

namespace eggroll {

struct SigmaDelta {
  static constexpr const char* kName = "sigma-delta";
  static constexpr const char* kHelp = "by thresholds of a sum kept over generations";
  static constexpr Element kMoves = Element::int8;
  static constexpr std::array<Slot, 1> kSlots = {{{"accumulators", Element::int32}}};
  static constexpr bool kStepsWithoutUpdate = false;
  // M rests in an int32, with room to add to it.
  static constexpr double kLargestThreshold = 1 << 30;

  struct Settings : ShareSettings {
    double threshold_factor = 2;
    void declare(Options& to) {
      to.number("threshold-factor", threshold_factor, 0.01, 64,
                "the first threshold, in standard deviations of the sum");
      ShareSettings::declare(to);
    }
  };
  struct Numbers {
    int64_t threshold;
  };

  // threshold_factor / sqrt(alpha_t) s
  static Numbers numbers(const Settings& settings, const StepContext& context) {
    const int64_t deviation = noise_deviation(context);
    const double alpha = settings.at(context.generation, context.generations);
    return {static_cast<int64_t>(
        std::clamp(settings.threshold_factor / std::sqrt(alpha) * static_cast<double>(deviation),
                   1.0, kLargestThreshold))};
  }
  static StepMetrics metrics(const Settings& settings, const StepContext& context) {
    return {{"alpha", settings.at(context.generation, context.generations)},
            {"matrix_threshold", static_cast<double>(numbers(settings, context).threshold)}};
  }
  static void check(const Settings& settings, const StepContext& last) {
    check_deviation(last);
    const double alpha = settings.at(last.generation, last.generations);
    const double threshold =
        settings.threshold_factor / std::sqrt(alpha) * 256 *
        std::sqrt(static_cast<double>(last.sum_squares) * static_cast<double>(terms_of(last)));
    if (threshold <= kLargestThreshold) return;
    char grown[32];
    std::snprintf(grown, sizeof grown, "%.3g", threshold);
    throw OptionError(
        "threshold-factor", number_text(settings.threshold_factor),
        std::string("with this population, noise-rank and alpha the threshold grows to ") + grown +
            ", allowed is up to 2^30; take a smaller factor");
  }

  EGGROLL_HD static bool step(int64_t z, const Numbers& numbers, int8_t& weight,
                              int32_t& accumulator) {
    const int64_t sum = accumulator + z;
    const int64_t steps = sum / numbers.threshold;  // towards zero
    accumulator = static_cast<int32_t>(sum - steps * numbers.threshold);
    const int64_t moved = weight + steps;
    const int32_t next = moved > 127 ? 127 : moved < -127 ? -127 : static_cast<int32_t>(moved);
    const bool changed = next != weight;
    weight = static_cast<int8_t>(next);
    return changed;
  }
};

}  // namespace eggroll
