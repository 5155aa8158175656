#include "worker/control/control_settings.hpp"

namespace eggroll {

void ControlSettings::declare(Options& to) {
  to.begin(OptionGroup::data);
  to.path("env", env, "NAME", "environment: " + environments_text()).basic().allowed =
      "allowed are " + environments_text();
  to.path("model-dir", of_env.model_dir, "PATH",
          "folder of MJCF files in place of those that the program brings (MuJoCo)");
  to.flag(
      "full-observations", of_env.full_observations,
      "Ant-v5, Humanoid-v5, HumanoidStandup-v5: contact forces and more, as Gymnasium has them");
  to.begin(OptionGroup::model);
  to.number("layers", layers, 0, 64, "hidden layers of the policy; 0: a linear one");
  to.number("width", width, 1, 16384, "units of a hidden layer");
  to.choice("activation", activation, "of hidden units; pqn is relu of normalised layers");
  to.choice("actions", actions,
            "deterministic: the largest output, or numbers as they come out; sampled: by softmax, "
            "or with normal noise");
  to.number("action-noise", action_noise, 0.0, 10.0,
            "of sampled numbers, in half ranges of an action");
  to.choice("observations", observations,
            "normalised: less their mean, over their deviation, in all that members have met");
  to.begin(OptionGroup::population);
  to.number("episodes", episodes, 1, 1000, "of a member in a generation; fitness is their mean");
  to.choice("episode-seeds", episode_seeds, "who meets the same episodes in a generation");
  to.begin(OptionGroup::records);
  to.number("validate-episodes", validate_episodes, 1, 100000,
            "of the unperturbed policy, always the same ones");
  FloatSettings::declare(to);
}

ControlSettings control_settings(const RunConfig& config) {
  return read_settings<ControlSettings>(config.of_task);
}

}  // namespace eggroll
