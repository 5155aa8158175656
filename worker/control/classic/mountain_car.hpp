// MountainCar-v0 and MountainCarContinuous-v0: a car in a valley, too weak to climb out of it without a
// run-up (Moore 1990). Reward of the first: -1 a step; of the second: 100 at the flag, and less for each
// push. Their numbers are those of Gymnasium 1.4.0 with NumPy 1.26 bit for bit, so the order of operations
// is part of the task; tests/gymnasium has what it gave.
#pragma once

#include <algorithm>
#include <cmath>

#include "worker/control/elementary.hpp"
#include "worker/control/environment.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {

// Where the car is.
class MountainSlope {
 public:
  void reset(uint64_t seed) {
    position_ = EpisodeRandom(seed).uniform(-0.6, -0.4);
    speed_ = 0;
  }
  double steepness() const { return elementary::cos(3 * position_); }
  void roll(double acceleration) {
    speed_ = std::clamp(speed_ + acceleration, -0.07, 0.07);
    position_ = std::clamp(position_ + speed_, kLeft, kRight);
    if (position_ == kLeft && speed_ < 0) speed_ = 0;
  }
  bool is_at(double goal) const { return position_ >= goal && speed_ >= 0; }

  void observe(std::span<float> observation) const {
    observation[0] = static_cast<float>(position_);
    observation[1] = static_cast<float>(speed_);
  }
  void round() {
    position_ = static_cast<float>(position_);
    speed_ = static_cast<float>(speed_);
  }

  void draw(Drawing& to, double goal) const {
    to.centre = {(kLeft + kRight) / 2, 0.62};
    to.width = kRight - kLeft + 0.1, to.height = 1.25;
    // The hills go on to both sides of where the car can be.
    constexpr double kBeyond = 0.6;
    constexpr int kPieces = 120;
    std::vector<Point> ground = {{kRight + kBeyond, -1}, {kLeft - kBeyond, -1}};
    for (int piece = 0; piece <= kPieces; ++piece) {
      const double share = static_cast<double>(piece) / kPieces;
      const double x = kLeft - kBeyond + share * (kRight - kLeft + 2 * kBeyond);
      ground.push_back({x, height(x)});
    }
    to.polygon(std::move(ground), {190, 205, 160});
    const double foot = height(goal);
    to.stroke({goal, foot}, {goal, foot + 0.22}, 0.01, {60, 60, 60});
    to.polygon({{goal, foot + 0.22}, {goal + 0.09, foot + 0.185}, {goal, foot + 0.15}},
               {220, 180, 0});
    // The car: along and across the slope.
    const double slope = 1.35 * steepness(), length = std::sqrt(1 + slope * slope);
    const auto at = [&](double along, double across) {
      return Point{position_ + (along - across * slope) / length,
                   height(position_) + (along * slope + across) / length};
    };
    to.polygon({at(-0.08, 0.03), at(0.08, 0.03), at(0.08, 0.07), at(0.035, 0.07), at(0.02, 0.11),
                at(-0.045, 0.11), at(-0.06, 0.07), at(-0.08, 0.07)},
               {180, 40, 40});
    for (const double wheel : {-0.045, 0.045}) to.disc(at(wheel, 0.025), 0.025, {30, 30, 30});
  }

 private:
  static constexpr double kLeft = -1.2, kRight = 0.6;
  static double height(double x) { return 0.45 * elementary::sin(3 * x) + 0.55; }

  double position_ = 0, speed_ = 0;
};

class MountainCar {
 public:
  static EnvironmentSpec spec() {
    return {.name = "MountainCar-v0", .observations = 2, .choices = 3, .step_limit = 200};
  }
  void reset(uint64_t seed, std::span<float> observation) {
    slope_.reset(seed);
    slope_.observe(observation);
  }
  Step step(std::span<const float> action, std::span<float> observation) {
    slope_.roll((double{action[0]} - 1) * 0.001 + slope_.steepness() * -0.0025);
    slope_.observe(observation);
    return {.reward = -1, .terminated = slope_.is_at(kGoal)};
  }
  void draw(Drawing& to) const { slope_.draw(to, kGoal); }

 private:
  static constexpr double kGoal = 0.5;
  MountainSlope slope_;
};

class MountainCarContinuous {
 public:
  static EnvironmentSpec spec() {
    return {.name = "MountainCarContinuous-v0",
            .observations = 2,
            .low = {-1},
            .high = {1},
            .step_limit = 999};
  }
  void reset(uint64_t seed, std::span<float> observation) {
    slope_.reset(seed);
    slope_.observe(observation);
  }
  Step step(std::span<const float> action, std::span<float> observation) {
    const double wish = action[0];
    slope_.roll(std::clamp(wish, -1.0, 1.0) * 0.0015 - 0.0025 * slope_.steepness());
    const bool is_there = slope_.is_at(kGoal);
    slope_.round();  // the state is of fp32 between steps, but not within one
    slope_.observe(observation);
    return {.reward = (is_there ? 100 : 0) - wish * wish * 0.1, .terminated = is_there};
  }
  void draw(Drawing& to) const { slope_.draw(to, kGoal); }

 private:
  static constexpr double kGoal = 0.45;
  MountainSlope slope_;
};

}  // namespace eggroll
