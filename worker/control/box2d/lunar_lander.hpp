// LunarLander-v3 and LunarLanderContinuous-v3: a lander with three engines that is to come to rest between
// two flags, on two legs, after a push of random strength. The rules and numbers are those of Gymnasium
// 1.4.0 without wind, and so is the order in which random numbers are drawn; the physics is that of Box2D
// 2.4.1, where Gymnasium's is of 2.3, so that motions agree up to the first contact and not after it.
//
// Observation: place from the pad, velocity, angle, spin (in units of the task's own), whether the left
// and the right leg stand. Actions: 0 nothing, 1 left, 2 main, 3 right engine; or the throttle of the main
// engine (on above 0) and of those to the sides (on beyond +-0.5). 100 for rest, -100 for a crash or for
// leaving to a side. Worth 200 when solved.
#pragma once

#include <array>

#include "worker/control/box2d/planar_world.hpp"
#include "worker/control/environment.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {

class LunarLander {
 public:
  enum class Actions : uint8_t { discrete, continuous };

  explicit LunarLander(Actions actions) : actions_(actions) {}

  EnvironmentSpec spec() const;
  void reset(uint64_t seed, std::span<float> observation);
  Step step(std::span<const float> action, std::span<float> observation);
  void draw(Drawing& to) const;

 private:
  // What the engines do in a step: power in [0, 1].
  struct Engines {
    double main = 0;
    double side = 0;
    double direction = 0;  // of the side engine: -1 the left, 1 the right one
  };

  Engines engines_of(std::span<const float> action) const;
  Step advance(const Engines& engines, std::span<float> observation);
  void fire(const Engines& engines);

  Actions actions_;
  PlanarWorld world_;
  EpisodeRandom random_{0};
  std::array<Point, 11> surface_ = {};
  double potential_ = 0;  // after the last step; what it grew by is the reward
  Engines engines_ = {};  // of the last step, to be drawn
};

}  // namespace eggroll
