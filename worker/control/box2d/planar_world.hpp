// A small world of rigid bodies in a plane, as the tasks of Box2D need it: convex bodies, hinges with
// motors between them, and a ground of edges. Bodies touch the ground and not each other. Gravity is
// 10 m/s^2 downwards, and a step is 1/50 s of 180 iterations of velocity and 60 of position.
//
// What Box2D is to the rest of the program is planar_world.cpp alone. It computes in fp32, so what is
// given is rounded to that. A world is a function of the calls it got: each episode makes one of its own.
// Worlds of several threads do not disturb one another, a world itself is for one thread at a time.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "worker/control/drawing.hpp"

namespace eggroll {

class PlanarWorld {
 public:
  struct Body {
    std::vector<Point> corners = {};  // 3 to 8, counter-clockwise, in the body's own frame
    Point half_size = {};             // without corners: of a box
    Point position = {};
    double angle = 0;
    double density = 1;
    double friction = 0.2;
  };
  // Holds a point of each of two bodies together. Its angle is the second's less the first's, and 0 as it
  // is made.
  struct Hinge {
    size_t first = 0, second = 0;
    Point at_first = {}, at_second = {};
    double low = 0, high = 0;
    double speed = 0, torque = 0;  // of its motor: wanted, at most
  };

  PlanarWorld();
  ~PlanarWorld();
  PlanarWorld(PlanarWorld&&) noexcept;
  PlanarWorld& operator=(PlanarWorld&&) noexcept;

  // Bodies and hinges are numbered as they come.
  void add_ground(std::span<const Point> line, double friction);  // an edge from each to the next
  size_t add(const Body& body);
  size_t add(const Hinge& hinge);

  void push(size_t body, Point force);                   // at its centre of mass, for the next step
  void strike(size_t body, Point impulse, Point where);  // at a point of the world
  void drive(size_t hinge, double speed, double torque);
  // False if the state is not finite any more: nothing more can be asked then.
  [[nodiscard]] bool step();

  Point position(size_t body) const;  // of its frame's origin
  Point velocity(size_t body) const;  // of its centre of mass
  double angle(size_t body) const;
  double spin(size_t body) const;
  bool is_awake(size_t body) const;  // not: its motion has been next to none for half a second
  // Whether the last that happened between body and ground was that they met, not that they parted. A
  // body that leaves one of two edges it stood on counts as away: so it is in Gymnasium.
  bool is_on_ground(size_t body) const;
  bool has_touched(size_t body) const;  // ever
  double hinge_angle(size_t hinge) const;
  double hinge_speed(size_t hinge) const;
  // The share of the way that a ray goes before it meets the ground; 1 if it does not.
  double free_way(Point from, Point to) const;

  std::vector<Point> corners(size_t body) const;  // where they are in the world

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The library: "Box2D 2.4.1".
std::string planar_world_version();

}  // namespace eggroll
