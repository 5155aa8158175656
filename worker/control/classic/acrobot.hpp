// Acrobot-v1: two links, a motor at the elbow alone (Sutton 1996). Reward -1 a step until the end of the
// second has swung a length above the shoulder, 0 on that step. Its numbers are those of Gymnasium 1.4.0,
// so the order of operations is part of the task; tests/gymnasium has what it gave. In fp32 they differ by
// a last bit in one long episode of 60: other sines, of a motion that doubles each difference soon.
// Equations of Sutton and Barto (2018), section 11.3 of the first edition; all masses, lengths and moments
// are 1, and the centres of mass halfway.
#pragma once

#include <algorithm>
#include <array>

#include "worker/control/elementary.hpp"
#include "worker/control/environment.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {

class Acrobot {
 public:
  static EnvironmentSpec spec() {
    return {.name = "Acrobot-v1", .observations = 6, .choices = 3, .step_limit = 500};
  }

  void reset(uint64_t seed, std::span<float> observation) {
    EpisodeRandom random(seed);
    for (double& number : state_) number = static_cast<float>(random.uniform(-0.1, 0.1));
    observe(observation);
  }

  Step step(std::span<const float> action, std::span<float> observation) {
    constexpr double kStep = 0.2;
    const double torque = double{action[0]} - 1;
    // Runge and Kutta, of order 4.
    const State k1 = change(state_, torque);
    const State k2 = change(moved(kStep / 2, k1), torque);
    const State k3 = change(moved(kStep / 2, k2), torque);
    const State k4 = change(moved(kStep, k3), torque);
    for (size_t i = 0; i < 4; ++i) state_[i] += kStep / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]);
    state_[0] = wrapped(state_[0]);
    state_[1] = wrapped(state_[1]);
    state_[2] = std::clamp(state_[2], -4 * kPi, 4 * kPi);
    state_[3] = std::clamp(state_[3], -9 * kPi, 9 * kPi);
    observe(observation);
    const bool is_up = -elementary::cos(state_[0]) - elementary::cos(state_[1] + state_[0]) > 1;
    return {.reward = is_up ? 0.0 : -1.0, .terminated = is_up};
  }

  void draw(Drawing& to) const {
    to.width = to.height = 4.6;
    to.stroke({-2.3, 1}, {2.3, 1}, 0.02, {60, 60, 60});
    const double second = state_[0] + state_[1];
    const Point elbow = {elementary::sin(state_[0]), -elementary::cos(state_[0])};
    const Point end = {elbow.x + elementary::sin(second), elbow.y - elementary::cos(second)};
    to.stroke({0, 0}, elbow, 0.2, {0, 160, 160});
    to.stroke(elbow, end, 0.2, {0, 204, 204});
    to.disc({0, 0}, 0.1, {204, 204, 0});
    to.disc(elbow, 0.1, {204, 204, 0});
  }

 private:
  static constexpr double kPi = 3.14159265358979323846;
  using State = std::array<double, 4>;  // angles from hanging, and of the elbow; their speeds

  State moved(double step, const State& by) const {
    State result = state_;
    for (size_t i = 0; i < 4; ++i) result[i] += step * by[i];
    return result;
  }

  // By time.
  static State change(const State& of, double torque) {
    constexpr double kGravity = 9.8;
    const auto [angle1, angle2, speed1, speed2] = of;
    const double sine = elementary::sin(angle2), cosine = elementary::cos(angle2);
    const double d1 = 0.25 + (1 + 0.25 + cosine) + 1 + 1;
    const double d2 = 0.25 + 0.5 * cosine + 1;
    const double phi2 = 0.5 * kGravity * elementary::cos(angle1 + angle2 - kPi / 2);
    const double phi1 = -0.5 * (speed2 * speed2) * sine - speed2 * speed1 * sine +
                        1.5 * kGravity * elementary::cos(angle1 - kPi / 2) + phi2;
    const double turn2 = (torque + d2 / d1 * phi1 - 0.5 * (speed1 * speed1) * sine - phi2) /
                         (0.25 + 1 - d2 * d2 / d1);
    const double turn1 = -(d2 * turn2 + phi1) / d1;
    return {speed1, speed2, turn1, turn2};
  }

  // Into [-pi, pi], by whole turns.
  static double wrapped(double angle) {
    while (angle > kPi) angle -= 2 * kPi;
    while (angle < -kPi) angle += 2 * kPi;
    return angle;
  }
  void observe(std::span<float> observation) const {
    for (size_t i = 0; i < 2; ++i) {
      observation[2 * i] = static_cast<float>(elementary::cos(state_[i]));
      observation[2 * i + 1] = static_cast<float>(elementary::sin(state_[i]));
      observation[4 + i] = static_cast<float>(state_[2 + i]);
    }
  }

  State state_ = {};
};

}  // namespace eggroll
