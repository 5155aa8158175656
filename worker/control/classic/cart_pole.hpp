// CartPole-v1: a pole that stands on a cart, which is pushed to the left or to the right (Barto, Sutton,
// Anderson 1983). Reward 1 a step, until the pole leans by more than 12 degrees or the cart leaves the
// track. Its numbers are those of Gymnasium 1.4.0 bit for bit, so the order of operations is part of the
// task; tests/gymnasium has what it gave.
#pragma once

#include <array>
#include <cmath>

#include "worker/control/elementary.hpp"
#include "worker/control/environment.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {

class CartPole {
 public:
  static EnvironmentSpec spec() {
    return {.name = "CartPole-v1", .observations = 4, .choices = 2, .step_limit = 500};
  }

  void reset(uint64_t seed, std::span<float> observation) {
    EpisodeRandom random(seed);
    for (double* number : {&x_, &speed_, &angle_, &turning_}) *number = random.uniform(-0.05, 0.05);
    observe(observation);
  }

  Step step(std::span<const float> action, std::span<float> observation) {
    constexpr double kGravity = 9.8, kPoleMass = 0.1, kMass = kPoleMass + 1.0;
    constexpr double kMoment = kPoleMass * kHalfPole, kForce = 10, kStep = 0.02;
    const double force = action[0] == 1 ? kForce : -kForce;
    const double sine = elementary::sin(angle_), cosine = elementary::cos(angle_);
    const double push = (force + kMoment * (turning_ * turning_) * sine) / kMass;
    const double turn = (kGravity * sine - cosine * push) /
                        (kHalfPole * (4.0 / 3.0 - kPoleMass * (cosine * cosine) / kMass));
    const double acceleration = push - kMoment * turn * cosine / kMass;
    x_ += kStep * speed_;  // Euler: by the old speed
    speed_ += kStep * acceleration;
    angle_ += kStep * turning_;
    turning_ += kStep * turn;
    observe(observation);
    constexpr double kMostAngle = 12 * 2 * 3.14159265358979323846 / 360;
    return {.reward = 1, .terminated = std::fabs(x_) > kTrack || std::fabs(angle_) > kMostAngle};
  }

  void draw(Drawing& to) const {
    to.centre = {0, 0.45};
    to.width = 2 * kTrack + 0.8, to.height = 2.4;
    constexpr double kWheel = 0.08, kTop = 0.42;
    to.stroke({-kTrack, 0}, {kTrack, 0}, 0.03, {120, 120, 120});
    for (const double end : {-kTrack, kTrack})
      to.stroke({end, -0.08}, {end, 0.08}, 0.03, {120, 120, 120});
    to.polygon({{x_ - 0.3, kWheel}, {x_ + 0.3, kWheel}, {x_ + 0.3, kTop}, {x_ - 0.3, kTop}},
               {45, 62, 80});
    for (const double wheel : {x_ - 0.18, x_ + 0.18})
      to.disc({wheel, kWheel}, kWheel, {20, 20, 20});
    const Point tip = {x_ + 2 * kHalfPole * elementary::sin(angle_),
                       kTop + 2 * kHalfPole * elementary::cos(angle_)};
    to.stroke({x_, kTop}, tip, 0.09, {205, 133, 63});
    to.disc({x_, kTop}, 0.05, {130, 130, 200});
  }

 private:
  static constexpr double kHalfPole = 0.5, kTrack = 2.4;

  void observe(std::span<float> observation) const {
    const std::array state = {x_, speed_, angle_, turning_};
    for (size_t i = 0; i < state.size(); ++i) observation[i] = static_cast<float>(state[i]);
  }

  double x_ = 0, speed_ = 0, angle_ = 0, turning_ = 0;  // the angle from upright, to the right
};

}  // namespace eggroll
