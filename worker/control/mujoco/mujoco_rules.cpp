#include "worker/control/mujoco/mujoco_rules.hpp"

#include <mujoco/mujoco.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace eggroll {
namespace {

constexpr double kUnbounded = std::numeric_limits<double>::infinity();

double squares(std::span<const float> of) {
  double sum = 0;
  for (const double each : of) sum += each * each;
  return sum;
}

double squares(const double* of, int count, double bound = kUnbounded) {
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    const double value = std::clamp(of[i], -bound, bound);
    sum += value * value;
  }
  return sum;
}

bool is_within(double low, double value, double high) { return low < value && value < high; }

// ---- observations --------------------------------------------------------------------------------------

// Positions without the first few, which say where on the ground it is, and velocities.
template <int hidden>
void observe_state(const MujocoScene& of, bool, ObservationWriter& to) {
  to.put(of.data->qpos + hidden, of.model->nq - hidden, kUnbounded);
  to.put(of.data->qvel, of.model->nv, kUnbounded);
}

void observe_slow_state(const MujocoScene& of, bool, ObservationWriter& to) {
  to.put(of.data->qpos + 1, of.model->nq - 1, kUnbounded);
  to.put(of.data->qvel, of.model->nv, 10);
}

void observe_double_pendulum(const MujocoScene& of, bool, ObservationWriter& to) {
  const double* angles = of.data->qpos + 1;
  to.put(of.data->qpos[0]);
  for (int i = 0; i < 2; ++i) to.put(std::sin(angles[i]));
  for (int i = 0; i < 2; ++i) to.put(std::cos(angles[i]));
  to.put(of.data->qvel, 3, 10);
  to.put(of.data->qfrc_constraint, 1, 10);
}

void observe_reacher(const MujocoScene& of, bool, ObservationWriter& to) {
  const double* at = of.data->qpos;
  for (int i = 0; i < 2; ++i) to.put(std::cos(at[i]));
  for (int i = 0; i < 2; ++i) to.put(std::sin(at[i]));
  to.put(at + 2, 2, kUnbounded);
  to.put(of.data->qvel, 2, kUnbounded);
  for (int i = 0; i < 2; ++i)
    to.put(of.data->xpos[3 * of.bodies[0] + i] - of.data->xpos[3 * of.bodies[1] + i]);
}

void observe_ant(const MujocoScene& of, bool in_full, ObservationWriter& to) {
  observe_state<2>(of, in_full, to);
  if (in_full) to.put(of.data->cfrc_ext + 6, 6 * (of.model->nbody - 1), 1);
}

// In full: for each body but the world its inertia (10) and velocity (6), what motors do at the joints, and
// the forces of contacts on each body.
void observe_humanoid(const MujocoScene& of, bool in_full, ObservationWriter& to) {
  observe_state<2>(of, in_full, to);
  if (!in_full) return;
  const int bodies = of.model->nbody - 1;
  to.put(of.data->cinert + 10, 10 * bodies, kUnbounded);
  to.put(of.data->cvel + 6, 6 * bodies, kUnbounded);
  to.put(of.data->qfrc_actuator + 6, of.model->nv - 6, kUnbounded);
  to.put(of.data->cfrc_ext + 6, 6 * bodies, kUnbounded);
}

// ---- places --------------------------------------------------------------------------------------------

double first_position(const MujocoScene& of) { return of.data->qpos[0]; }

// Of the body itself, which after a step of a multi-stage integrator is not quite its position.
double first_body(const MujocoScene& of) { return of.data->xpos[3]; }

double centre_of_mass(const MujocoScene& of) {
  double sum = 0, mass = 0;
  for (int body = 0; body < of.model->nbody; ++body) {
    sum += of.model->body_mass[body] * of.data->xipos[3 * body];
    mass += of.model->body_mass[body];
  }
  return sum / mass;
}

// ---- what a step is worth, and whether it is the last ----------------------------------------------------

Step judge_pendulum(const MujocoScene& of, const MujocoMove&) {
  const bool fell = std::fabs(of.data->qpos[1]) > 0.2;
  return {.reward = fell ? 0.0 : 1.0, .terminated = fell};
}

Step judge_double_pendulum(const MujocoScene& of, const MujocoMove&) {
  const double x = of.data->site_xpos[0], z = of.data->site_xpos[2];  // the tip
  const double lower = of.data->qvel[1], upper = of.data->qvel[2];
  const bool fell = z <= 1;
  const double off = 0.01 * x * x + (z - 2) * (z - 2);
  const double swing = 1e-3 * lower * lower + 5e-3 * upper * upper;
  return {.reward = (fell ? 0 : 10) - off - swing, .terminated = fell};
}

Step judge_reacher(const MujocoScene& of, const MujocoMove& move) {
  double distance = 0;
  for (int i = 0; i < 3; ++i) {
    const double d = of.data->xpos[3 * of.bodies[0] + i] - of.data->xpos[3 * of.bodies[1] + i];
    distance += d * d;
  }
  return {.reward = -std::sqrt(distance) - squares(move.action)};
}

Step judge_swimmer(const MujocoScene&, const MujocoMove& move) {
  return {.reward = move.speed - 1e-4 * squares(move.action)};
}

Step judge_cheetah(const MujocoScene&, const MujocoMove& move) {
  return {.reward = move.speed - 0.1 * squares(move.action)};
}

Step judge_hopper(const MujocoScene& of, const MujocoMove& move) {
  const double* at = of.data->qpos;
  bool is_well = at[1] > 0.7 && is_within(-0.2, at[2], 0.2);
  for (int i = 2; i < of.model->nq; ++i) is_well = is_well && is_within(-100, at[i], 100);
  for (int i = 0; i < of.model->nv; ++i)
    is_well = is_well && is_within(-100, of.data->qvel[i], 100);
  return {.reward = move.speed + (is_well ? 1 : 0) - 1e-3 * squares(move.action),
          .terminated = !is_well};
}

Step judge_walker(const MujocoScene& of, const MujocoMove& move) {
  const bool is_well = is_within(0.8, of.data->qpos[1], 2) && is_within(-1, of.data->qpos[2], 1);
  return {.reward = move.speed + (is_well ? 1 : 0) - 1e-3 * squares(move.action),
          .terminated = !is_well};
}

Step judge_ant(const MujocoScene& of, const MujocoMove& move) {
  const double z = of.data->qpos[2];
  const bool is_well = z >= 0.2 && z <= 1;
  const double contacts = squares(of.data->cfrc_ext, 6 * of.model->nbody, 1);
  return {.reward = move.speed + (is_well ? 1 : 0) - (0.5 * squares(move.action) + 5e-4 * contacts),
          .terminated = !is_well};
}

// Humanoids pay for what the motors got, not for what was asked of them.
double cost_of_humanoid(const MujocoScene& of) {
  const double contacts = squares(of.data->cfrc_ext, 6 * of.model->nbody);
  return 0.1 * squares(of.data->ctrl, of.model->nu) + std::min(5e-7 * contacts, 10.0);
}

Step judge_humanoid(const MujocoScene& of, const MujocoMove& move) {
  const bool is_well = is_within(1, of.data->qpos[2], 2);
  return {.reward = 1.25 * move.speed + (is_well ? 5 : 0) - cost_of_humanoid(of),
          .terminated = !is_well};
}

Step judge_standup(const MujocoScene& of, const MujocoMove&) {
  return {.reward = of.data->qpos[2] / of.model->opt.timestep - cost_of_humanoid(of) + 1};
}

using View = MujocoRules::View;

constexpr MujocoRules kRules[] = {
    {.name = "InvertedPendulum-v5",
     .file = "inverted_pendulum.xml",
     .positions = 2,
     .velocities = 2,
     .motors = 1,
     .frame_skip = 2,
     .observations = 4,
     .observations_in_full = 4,
     .position_noise = 0.01,
     .velocity_noise = 0.01,
     .observe = observe_state<0>,
     .place = first_position,
     .judge = judge_pendulum,
     .is_followed = false,
     .centre = {0, 0.25},
     .width = 2.6,
     .height = 1.2},
    {.name = "InvertedDoublePendulum-v5",
     .file = "inverted_double_pendulum.xml",
     .positions = 3,
     .velocities = 3,
     .motors = 1,
     .sites = 1,
     .frame_skip = 5,
     .observations = 9,
     .observations_in_full = 9,
     .position_noise = 0.1,
     .velocity_noise = 0.1,
     .is_normal = true,
     .observe = observe_double_pendulum,
     .place = first_position,
     .judge = judge_double_pendulum,
     .is_followed = false,
     .centre = {0, 0.5}},
    {.name = "Reacher-v5",
     .file = "reacher.xml",
     .positions = 4,
     .velocities = 4,
     .motors = 2,
     .bodies = {"fingertip", "target"},
     .frame_skip = 2,
     .step_limit = 50,
     .observations = 10,
     .observations_in_full = 10,
     .position_noise = 0.1,
     .velocity_noise = 0.005,
     .has_target = true,
     .observe = observe_reacher,
     .place = first_position,
     .judge = judge_reacher,
     .view = View::above,
     .is_followed = false,
     .centre = {0, 0},
     .width = 0.7,
     .height = 0.7},
    {.name = "Swimmer-v5",
     .file = "swimmer.xml",
     .positions = 5,
     .velocities = 5,
     .motors = 2,
     .frame_skip = 4,
     .observations = 8,
     .observations_in_full = 8,
     .position_noise = 0.1,
     .velocity_noise = 0.1,
     .observe = observe_state<2>,
     .place = first_position,
     .judge = judge_swimmer,
     .view = View::above,
     .centre = {0, 0},
     .width = 6,
     .height = 4},
    {.name = "Hopper-v5",
     .file = "hopper.xml",
     .positions = 6,
     .velocities = 6,
     .motors = 3,
     .frame_skip = 4,
     .observations = 11,
     .observations_in_full = 11,
     .position_noise = 0.005,
     .velocity_noise = 0.005,
     .observe = observe_slow_state,
     .place = first_position,
     .judge = judge_hopper,
     .centre = {0, 0.8}},
    {.name = "HalfCheetah-v5",
     .file = "half_cheetah.xml",
     .positions = 9,
     .velocities = 9,
     .motors = 6,
     .frame_skip = 5,
     .observations = 17,
     .observations_in_full = 17,
     .position_noise = 0.1,
     .velocity_noise = 0.1,
     .is_normal = true,
     .observe = observe_state<1>,
     .place = first_position,
     .judge = judge_cheetah,
     .centre = {0, 0.6}},
    {.name = "Walker2d-v5",
     .file = "walker2d_v5.xml",
     .positions = 9,
     .velocities = 9,
     .motors = 6,
     .frame_skip = 4,
     .observations = 17,
     .observations_in_full = 17,
     .position_noise = 0.005,
     .velocity_noise = 0.005,
     .observe = observe_slow_state,
     .place = first_position,
     .judge = judge_walker,
     .centre = {0, 0.8}},
    {.name = "Ant-v5",
     .file = "ant.xml",
     .positions = 15,
     .velocities = 14,
     .motors = 8,
     .frame_skip = 5,
     .observations = 27,
     .observations_in_full = 105,
     .position_noise = 0.1,
     .velocity_noise = 0.1,
     .is_normal = true,
     .observe = observe_ant,
     .place = first_body,
     .judge = judge_ant,
     .uses_contacts = true,
     .view = View::oblique,
     .centre = {0, 0.4},
     .width = 4,
     .height = 2.7},
    {.name = "Humanoid-v5",
     .file = "humanoid.xml",
     .positions = 24,
     .velocities = 23,
     .motors = 17,
     .frame_skip = 5,
     .observations = 45,
     .observations_in_full = 348,
     .position_noise = 0.01,
     .velocity_noise = 0.01,
     .observe = observe_humanoid,
     .place = centre_of_mass,
     .judge = judge_humanoid,
     .uses_contacts = true,
     .view = View::oblique,
     .centre = {0, 0.9},
     .width = 3.6,
     .height = 2.4},
    {.name = "HumanoidStandup-v5",
     .file = "humanoidstandup.xml",
     .positions = 24,
     .velocities = 23,
     .motors = 17,
     .frame_skip = 5,
     .observations = 45,
     .observations_in_full = 348,
     .position_noise = 0.01,
     .velocity_noise = 0.01,
     .observe = observe_humanoid,
     .place = centre_of_mass,
     .judge = judge_standup,
     .uses_contacts = true,
     .view = View::oblique,
     .centre = {0, 0.6},
     .width = 3.6,
     .height = 2.4},
};

}  // namespace

void ObservationWriter::put(double value) {
  const bool is_float = std::fabs(value) <= double{std::numeric_limits<float>::max()};
  is_finite_ = is_finite_ && is_float;
  if (size_ < to_.size()) to_[size_] = is_float ? static_cast<float>(value) : 0;
  ++size_;
}

void ObservationWriter::put(const double* values, int count, double bound) {
  for (int i = 0; i < count; ++i) put(std::clamp(values[i], -bound, bound));
}

std::span<const MujocoRules> mujoco_rules() { return kRules; }

}  // namespace eggroll
