#include "worker/control/control_policy.hpp"

#include "worker/control/environment_types.hpp"

namespace eggroll {

EnvironmentSpec environment_spec(const ControlSettings& settings) {
  return environment_type(settings.env).make(settings.of_env, 1)->spec();
}

MlpShape policy_shape(const ControlSettings& settings, const EnvironmentSpec& spec) {
  return {.inputs = spec.observations,
          .outputs = spec.choices > 0 ? spec.choices : spec.actions(),
          .layers = settings.layers,
          .width = settings.width,
          .activation = settings.activation};
}

Rollout::Tensors policy_tensors(const ControlSettings& settings) {
  if (settings.observations == ObservationScale::raw) return {.statistics = {}, .policy = 0};
  return {.statistics = 0, .policy = 1};
}

ParameterLayout control_layout(const RunConfig& config) {
  const ControlSettings settings = control_settings(config);
  const EnvironmentSpec spec = environment_spec(settings);
  ParameterLayout layout;
  if (policy_tensors(settings).statistics)
    layout.add("observations", Role::vector, Noise::none, Element::int64,
               static_cast<uint32_t>(statistics_words(spec.observations)), 1);
  add_mlp(layout, policy_shape(settings, spec),
          settings.perturbation == Perturbation::full ? Noise::full : Noise::low_rank);
  return layout;
}

std::unique_ptr<Rollout> make_rollout(const RunConfig& config, Device& device,
                                      const Learner& learner, size_t slots) {
  const ControlSettings settings = control_settings(config);
  return std::make_unique<Rollout>(
      settings, policy_shape(settings, environment_spec(settings)), policy_tensors(settings), slots,
      device.make_float_layers({config.seed, config.noise_rank}, learner), learner);
}

}  // namespace eggroll
