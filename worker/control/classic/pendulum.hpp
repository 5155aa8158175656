// Pendulum-v1: a rod on a motor that is too weak to lift it at once. Costs the square of its angle from
// upright, and a little for speed and torque; never over before the step limit. Its numbers are those of
// Gymnasium 1.4.0 with NumPy 1.26 (which widens an action to double before it computes), so the order of
// operations is part of the task; tests/gymnasium has what it gave.
#pragma once

#include <algorithm>
#include <cmath>

#include "worker/control/elementary.hpp"
#include "worker/control/environment.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {

class Pendulum {
 public:
  static EnvironmentSpec spec() {
    return {.name = "Pendulum-v1", .observations = 3, .low = {-2}, .high = {2}, .step_limit = 200};
  }

  void reset(uint64_t seed, std::span<float> observation) {
    EpisodeRandom random(seed);
    angle_ = random.uniform(-kPi, kPi);
    turning_ = random.uniform(-1, 1);
    torque_ = 0;
    observe(observation);
  }

  Step step(std::span<const float> action, std::span<float> observation) {
    constexpr double kGravity = 10, kStep = 0.05, kMostTurning = 8;  // mass and length are 1
    torque_ = std::clamp<double>(action[0], -2, 2);
    const double lean = wrapped(angle_);
    const double cost = lean * lean + 0.1 * (turning_ * turning_) + 0.001 * (torque_ * torque_);
    const double turn = 3 * kGravity / 2 * elementary::sin(angle_) + 3 * torque_;
    turning_ = std::clamp(turning_ + turn * kStep, -kMostTurning, kMostTurning);
    angle_ += turning_ * kStep;  // by the new speed
    observe(observation);
    return {.reward = -cost};
  }

  void draw(Drawing& to) const {
    to.width = to.height = 2.6;
    // The torque: an arc around the axle, from the top on, as long as it is large.
    constexpr int kPieces = 24;
    const auto around = [](double turned) {
      return Point{-0.35 * elementary::sin(turned), 0.35 * elementary::cos(turned)};
    };
    for (int piece = 0; torque_ != 0 && piece < kPieces; ++piece)
      to.stroke(around(torque_ * piece / kPieces), around(torque_ * (piece + 1) / kPieces), 0.04,
                {70, 130, 180});
    to.stroke({0, 0}, {-elementary::sin(angle_), elementary::cos(angle_)}, 0.2, {204, 77, 77});
    to.disc({0, 0}, 0.05, {0, 0, 0});
  }

 private:
  static constexpr double kPi = 3.14159265358979323846;

  // Into [-pi, pi).
  static double wrapped(double angle) {
    const double rest = std::fmod(angle + kPi, 2 * kPi);
    return (rest < 0 ? rest + 2 * kPi : rest) - kPi;
  }
  void observe(std::span<float> observation) const {
    observation[0] = static_cast<float>(elementary::cos(angle_));
    observation[1] = static_cast<float>(elementary::sin(angle_));
    observation[2] = static_cast<float>(turning_);
  }

  double angle_ = 0, turning_ = 0;  // from upright, to the left
  double torque_ = 0;               // of the last step
};

}  // namespace eggroll
