// BipedalWalker-v3 (not its hardcore version): a hull on two legs of two parts each, which is to walk to
// the right over slightly uneven ground. The rules and numbers are those of Gymnasium 1.4.0, and so is
// the order in which random numbers are drawn; the physics is that of Box2D 2.4.1, where Gymnasium's is of
// 2.3. Gymnasium keeps a world from episode to episode, and what was in it: ours is made anew.
//
// Observation: the hull's angle, spin, velocity; of each leg angle and speed of hip and knee and whether
// it stands; the free way along ten rays from downwards to almost forwards. Actions: torques of hip and
// knee of each leg, the sign being the direction. -100 if the hull touches the ground or leaves to the
// left. Worth 300 when solved.
#pragma once

#include "worker/control/box2d/planar_world.hpp"
#include "worker/control/environment.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {

class BipedalWalker {
 public:
  static EnvironmentSpec spec();
  void reset(uint64_t seed, std::span<float> observation);
  Step step(std::span<const float> action, std::span<float> observation);
  void draw(Drawing& to) const;

 private:
  void make_terrain(EpisodeRandom& random);
  void make_walker(double push);

  PlanarWorld world_;
  std::vector<Point> terrain_ = {};  // its corners, from the left
  double potential_ = 0;             // after the last step; what it grew by is the reward
};

}  // namespace eggroll
