#include "worker/control/mujoco/mujoco_environment.hpp"

#include <fmt/format.h>
#include <mujoco/mujoco.h>

#include <algorithm>
#include <cmath>

#include "common/check.hpp"
#include "worker/control/episode_random.hpp"
#include "worker/control/mujoco/mujoco_rules.hpp"

namespace eggroll {
namespace {

const MujocoRules& rules_of(const std::string& name) {
  for (const MujocoRules& rules : mujoco_rules())
    if (name == rules.name) return rules;
  std::string names;
  for (const MujocoRules& rules : mujoco_rules())
    (names += names.empty() ? "" : ", ") += rules.name;
  throw ConfigError(fmt::format("no MuJoCo environment {}; there are {}", name, names));
}

void check_size(const PhysicsModel& model, const MujocoRules& rules, const char* what, int has,
                int needs) {
  if (has != needs)
    throw ConfigError(
        fmt::format("{} has {} {}, but {} is of {}", model.title(), has, what, rules.name, needs));
}

// Anywhere in a disc of radius .2, by trial.
void draw_target(EpisodeRandom& random, double* target) {
  constexpr double kRadius = 0.2;
  do {
    target[0] = random.uniform(-kRadius, kRadius);
    target[1] = random.uniform(-kRadius, kRadius);
  } while (std::sqrt(target[0] * target[0] + target[1] * target[1]) >= kRadius);
}

}  // namespace

std::vector<std::string> mujoco_environment_names() {
  std::vector<std::string> names;
  for (const MujocoRules& rules : mujoco_rules()) names.emplace_back(rules.name);
  return names;
}

MujocoWorld::MujocoWorld(const MujocoSettings& settings)
    : rules_(rules_of(settings.name)),
      is_in_full_(settings.is_in_full),
      model_(rules_.file, settings.model_folder) {
  const mjModel& model = *model_.get();
  check_size(model_, rules_, "positions", model.nq, rules_.positions);
  check_size(model_, rules_, "velocities", model.nv, rules_.velocities);
  check_size(model_, rules_, "motors", model.nu, rules_.motors);
  check_size(model_, rules_, "sites", std::min<int>(model.nsite, rules_.sites), rules_.sites);
  spec_ = {.name = rules_.name,
           .observations = is_in_full_ ? rules_.observations_in_full : rules_.observations,
           .step_limit = rules_.step_limit};
  for (int motor = 0; motor < model.nu; ++motor) {
    spec_.low.push_back(static_cast<float>(model.actuator_ctrlrange[2 * motor]));
    spec_.high.push_back(static_cast<float>(model.actuator_ctrlrange[2 * motor + 1]));
  }
  for (size_t i = 0; i < bodies_.size(); ++i)
    if (const char* name = rules_.bodies[i]) bodies_[i] = model_.body(name);

  PhysicsState state(model_);
  mj_forward(&model, state.get());
  ObservationWriter numbers({});
  rules_.observe({&model, state.get(), bodies_}, is_in_full_, numbers);
  check_size(model_, rules_, "numbers to observe", static_cast<int>(numbers.size()),
             static_cast<int>(spec_.observations));
}

std::string MujocoWorld::identity() const {
  return fmt::format("{}, {} {}", physics_version(), rules_.file, model_.digest());
}

MujocoEnvironment::MujocoEnvironment(std::shared_ptr<const MujocoWorld> world)
    : world_(std::move(world)), state_(world_->model()) {}

// Everything anew first: the solver starts from what it last came to, which would be another episode's.
void MujocoEnvironment::reset(uint64_t seed, std::span<float> observation) {
  const MujocoRules& rules = world_->rules();
  const mjModel* model = world_->model().get();
  mjData* data = state_.get();
  mj_resetData(model, data);
  EpisodeRandom random(seed);
  for (int i = 0; i < model->nq; ++i)
    data->qpos[i] = model->qpos0[i] + random.uniform(-rules.position_noise, rules.position_noise);
  if (rules.has_target) draw_target(random, data->qpos + model->nq - 2);
  for (int i = 0; i < model->nv; ++i)
    data->qvel[i] = rules.is_normal ? rules.velocity_noise * random.normal()
                                    : random.uniform(-rules.velocity_noise, rules.velocity_noise);
  if (rules.has_target) std::fill_n(data->qvel + model->nv - 2, 2, 0.0);
  mj_forward(model, data);

  ObservationWriter to(observation);
  rules.observe({model, data, world_->bodies()}, world_->is_in_full(), to);
  require(to.size() == observation.size(), "there is room for an observation");
}

Step MujocoEnvironment::step(std::span<const float> action, std::span<float> observation) {
  const MujocoRules& rules = world_->rules();
  const mjModel* model = world_->model().get();
  mjData* data = state_.get();
  const MujocoScene scene{model, data, world_->bodies()};
  const double before = rules.place(scene);
  std::ranges::copy(action, data->ctrl);
  for (int frame = 0; frame < rules.frame_skip; ++frame) mj_step(model, data);
  if (rules.uses_contacts) mj_rnePostConstraint(model, data);
  const double seconds = model->opt.timestep * rules.frame_skip;

  ObservationWriter to(observation);
  rules.observe(scene, world_->is_in_full(), to);
  const MujocoMove move{.action = action, .speed = (rules.place(scene) - before) / seconds};
  const Step result = rules.judge(scene, move);
  if (to.is_finite() && std::isfinite(result.reward) && !state_.has_warned()) return result;
  std::ranges::fill(observation, 0.0f);
  return {.reward = 0, .terminated = true, .failed = true};
}

}  // namespace eggroll
