// Gradient ascent with momentum: v = momentum v + g, theta += learning_rate v (Polyak 1964, as in most
// frameworks). It moves on after a generation without a difference.
#pragma once

#include "kernels/optimizers/optimizer.hpp"

namespace eggroll {

struct Momentum {
  static constexpr const char* kName = "momentum";
  static constexpr const char* kHelp = "by learning rate times a sum of estimates that fades";
  static constexpr Element kMoves = Element::float32;
  static constexpr std::array<Slot, 1> kSlots = {{{"momentum", Element::float32}}};
  static constexpr bool kStepsWithoutUpdate = true;

  struct Settings {
    Schedule learning_rate = {0.1};
    double momentum = 0.9;
    void declare(Options& to) {
      learning_rate.declare(to, "learning-rate", 1e-12, 1e12, "size of a step");
      to.number("momentum", momentum, 0, 0.9999, "share of the sum that a generation leaves");
    }
  };
  struct Numbers {
    double scale;
    float momentum, rate;
  };
  static Numbers numbers(const Settings& settings, const StepContext& context) {
    return {gradient_scale(context), static_cast<float>(settings.momentum),
            static_cast<float>(settings.learning_rate.at(context.generation, context.generations))};
  }
  static StepMetrics metrics(const Settings& settings, const StepContext& context) {
    return {{"learning_rate", settings.learning_rate.at(context.generation, context.generations)}};
  }
  static void check(const Settings&, const StepContext&) {}

  EGGROLL_HD static bool step(int64_t z, const Numbers& n, float& weight, float& v) {
    const float before = weight;
    v = n.momentum * v + scaled(n.scale, z);
    weight += n.rate * v;
    return weight != before;
  }
};

}  // namespace eggroll
