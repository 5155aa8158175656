// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), as ascent: with g = scale Z,
//   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
//   theta += learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon),
// and AdamW before that theta -= learning_rate weight_decay theta. t counts generations, as every one
// is a step; frozen tensors are not stepped, so they do not decay.
#pragma once

#include "common/check.hpp"
#include "kernels/optimizers/optimizer.hpp"

namespace eggroll {

struct Adam {
  static constexpr const char* kName = "adam";
  static constexpr const char* kHelp = "by learning rate times mean over root mean square";
  static constexpr Element kMoves = Element::float32;
  static constexpr std::array<Slot, 2> kSlots = {
      {{"adam_m", Element::float32}, {"adam_v", Element::float32}}};
  static constexpr bool kStepsWithoutUpdate = true;

  struct Settings {
    Schedule learning_rate = {0.01};
    double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    void declare(Options& to) {
      learning_rate.declare(to, "learning-rate", 1e-12, 1e12, "size of a step");
      to.number("beta1", beta1, 0, 0.9999, "share of the mean that a generation leaves");
      to.number("beta2", beta2, 0, 0.999999, "share of the mean square that a generation leaves");
      to.number("epsilon", epsilon, 1e-20, 1, "added to the root of the mean square");
    }
  };
  struct Numbers {
    double scale;
    float beta1, rest1, beta2, rest2;  // rest = 1 - beta
    float rate;                        // learning_rate / (1 - beta1^t)
    float unbias2;                     // 1 / (1 - beta2^t)
    float epsilon;
    float kept;  // of a weight, before the step: 1 - learning_rate weight_decay
  };
  static Numbers numbers(const Settings& s, const StepContext& context) {
    const uint64_t t = context.generation + 1;
    const double rate = s.learning_rate.at(context.generation, context.generations);
    return {.scale = gradient_scale(context),
            .beta1 = static_cast<float>(s.beta1),
            .rest1 = static_cast<float>(1 - s.beta1),
            .beta2 = static_cast<float>(s.beta2),
            .rest2 = static_cast<float>(1 - s.beta2),
            .rate = static_cast<float>(rate / (1 - power(s.beta1, t))),
            .unbias2 = static_cast<float>(1 / (1 - power(s.beta2, t))),
            .epsilon = static_cast<float>(s.epsilon),
            .kept = 1};
  }
  static StepMetrics metrics(const Settings& settings, const StepContext& context) {
    return {{"learning_rate", settings.learning_rate.at(context.generation, context.generations)}};
  }
  static void check(const Settings&, const StepContext&) {}

  // x^n by multiplications alone: the same bits whatever maths library a rank has, also after a resume.
  static double power(double x, uint64_t n) {
    double result = 1;
    for (; n > 0; n /= 2, x *= x)
      if (n % 2 == 1) result *= x;
    return result;
  }

  // sqrt and division are rounded correctly on every device, and nothing is contracted.
  EGGROLL_HD static bool step(int64_t z, const Numbers& n, float& weight, float& m, float& v) {
    const float before = weight;
    // So large that its square is still a number: a huge fitness must not leave an infinite v behind.
    constexpr float kMost = 0x1p62f;
    const float estimate = scaled(n.scale, z);
    const float g = estimate > kMost ? kMost : estimate < -kMost ? -kMost : estimate;
    m = n.beta1 * m + n.rest1 * g;
    v = n.beta2 * v + n.rest2 * (g * g);
    weight = n.kept * weight + n.rate * m / (sqrtf(v * n.unbias2) + n.epsilon);
    return weight != before;
  }
};

struct AdamW : Adam {
  static constexpr const char* kName = "adamw";
  static constexpr const char* kHelp = "as adam, with weights that decay by themselves";

  struct Settings : Adam::Settings {
    double weight_decay = 0.01;
    void declare(Options& to) {
      Adam::Settings::declare(to);
      to.number("weight-decay", weight_decay, 0, 1e6,
                "share of a weight that a step takes, times the learning rate");
    }
  };
  static Numbers numbers(const Settings& s, const StepContext& context) {
    Numbers numbers = Adam::numbers(s, context);
    numbers.kept = static_cast<float>(
        1 - s.learning_rate.at(context.generation, context.generations) * s.weight_decay);
    return numbers;
  }
  static void check(const Settings& s, const StepContext&) {
    if (s.learning_rate.start * s.weight_decay > 1)
      throw ConfigError("weight-decay = " + number_text(s.weight_decay) +
                        ": times learning-rate = " + number_text(s.learning_rate.start) +
                        " it is more than 1, so weights would change their sign");
  }
};

}  // namespace eggroll
