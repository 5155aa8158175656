// Gradient ascent: theta += learning_rate g.
#pragma once

#include "kernels/optimizers/optimizer.hpp"

namespace eggroll {

struct Sgd {
  static constexpr const char* kName = "sgd";
  static constexpr const char* kHelp = "by learning rate times estimate";
  static constexpr Element kMoves = Element::float32;
  static constexpr std::array<Slot, 0> kSlots = {};
  static constexpr bool kStepsWithoutUpdate = false;

  struct Settings {
    Schedule learning_rate = {0.1};
    void declare(Options& to) {
      learning_rate.declare(to, "learning-rate", 1e-12, 1e12, "size of a step");
    }
  };
  struct Numbers {
    double scale;  // of Z
  };
  static Numbers numbers(const Settings& settings, const StepContext& context) {
    return {settings.learning_rate.at(context.generation, context.generations) *
            gradient_scale(context)};
  }
  static StepMetrics metrics(const Settings& settings, const StepContext& context) {
    return {{"learning_rate", settings.learning_rate.at(context.generation, context.generations)}};
  }
  static void check(const Settings&, const StepContext&) {}

  EGGROLL_HD static bool step(int64_t z, const Numbers& n, float& weight) {
    const float before = weight;
    weight += scaled(n.scale, z);
    return weight != before;
  }
};

}  // namespace eggroll
