// The MuJoCo environments of Gymnasium (Towers et al. 2024), version 5 of each, as rows of a table: the model,
// how an episode starts, what is observed, what a step is worth and when it is the last. MujocoEnvironment
// plays by a row.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "worker/control/environment.hpp"

struct mjModel_;
struct mjData_;

namespace eggroll {

// A simulation as the functions of a row see it. Bodies are those that the row names.
struct MujocoScene {
  const mjModel_* model;
  const mjData_* data;
  std::array<int, 2> bodies;
};

// What a step did.
struct MujocoMove {
  std::span<const float> action;
  double speed = 0;  // along x, of what the row measures
};

// Takes numbers of an observation one after another. One that is no finite float becomes 0 and is told; those
// that have no room are counted only.
class ObservationWriter {
 public:
  explicit ObservationWriter(std::span<float> to) : to_(to) {}
  void put(double value);
  void put(const double* values, int count, double bound);  // clipped to +-bound
  bool is_finite() const { return is_finite_; }
  size_t size() const { return size_; }

 private:
  std::span<float> to_;
  size_t size_ = 0;
  bool is_finite_ = true;
};

struct MujocoRules {
  const char* name;                   // of the environment
  const char* file;                   // of the model
  int positions, velocities, motors;  // that the model must have
  int sites = 0;                      // that it must have, or more
  const char* bodies[2] = {};         // that it must have, or null
  int frame_skip;                     // simulation steps of a step
  uint32_t step_limit = 1000;
  uint32_t observations, observations_in_full;

  // An episode starts from the model's own state and positions +-position_noise, uniformly, and velocities
  // of either +-velocity_noise, uniformly, or of that deviation, normally distributed.
  double position_noise, velocity_noise;
  bool is_normal = false;
  bool has_target = false;  // as the last two positions, anywhere in a disc, which stands still

  void (*observe)(const MujocoScene&, bool in_full, ObservationWriter& to);
  double (*place)(const MujocoScene&) = nullptr;  // along x; its change is MujocoMove::speed
  Step (*judge)(const MujocoScene&, const MujocoMove& move);
  bool uses_contacts = false;  // forces of contacts are computed after a step

  enum class View : uint8_t { side, above, oblique };
  View view = View::side;
  bool is_followed = true;  // the first body, in x and y
  Point centre;             // added to where it is, seen from the side without its height
  double width = 3, height = 2;
};

std::span<const MujocoRules> mujoco_rules();

}  // namespace eggroll
