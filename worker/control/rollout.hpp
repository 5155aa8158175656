// Rollouts: episodes of many members side by side. Each has a slot of an environment and a row of the
// policy's batch; who is through leaves, and the next one takes its place, so batches stay full whenever
// episodes end. What an episode brings depends on its member and its seed alone. One thread calls;
// several threads have rollouts of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/device.hpp"
#include "kernels/float_layers.hpp"
#include "kernels/learner.hpp"
#include "worker/control/control_settings.hpp"
#include "worker/control/environment.hpp"
#include "worker/control/observation_statistics.hpp"
#include "worker/models/mlp.hpp"

namespace eggroll {

struct Episode {
  RowNoise noise = {};  // of the member
  uint64_t seed = 0;
  uint64_t action_seed = 0;            // of sampled actions
  ObservationSums* gathers = nullptr;  // where its observations count, if anywhere
  uint64_t number = 0;                 // for whoever asked for it
};

struct EpisodeResult {
  double total = 0;  // reward of all steps
  uint32_t steps = 0;
  EpisodeState end = EpisodeState::goes_on;
};

class EpisodeSource {
 public:
  virtual ~EpisodeSource() = default;
  // None: there is none yet, or, asked by who may wait, there will be none.
  virtual std::optional<Episode> next(bool may_wait) = 0;
  virtual void finish(const Episode& episode, const EpisodeResult& result) = 0;
  // Whether results are of no use any more.
  virtual bool is_over() const { return false; }
};

// A step as a watcher sees it. Of a reset: the observation alone; of a policy that has given no numbers
// and so ends the episode: `failed` alone.
struct StepSeen {
  std::span<const float> observation = {}, action = {};
  double reward = 0;
  EpisodeState state = EpisodeState::goes_on;
  const Environments& environments;
  size_t slot = 0;
};

class Rollout {
 public:
  // Which tensors of the learner's layout: the running sums, where observations are normalised, and
  // the policy's first.
  struct Tensors {
    std::optional<size_t> statistics;
    size_t policy = 0;
  };
  Rollout(const ControlSettings& settings, const MlpShape& shape, Tensors tensors, size_t slots,
          std::unique_ptr<FloatLayers> layers, const Learner& learner);

  // From now on parameters and statistics are as they are in the learner, perturbed by sigma.
  void begin(uint32_t noise_epoch, float sigma);
  // Until the source has no more.
  void run(EpisodeSource& source);

  const EnvironmentSpec& spec() const { return environments_->spec(); }
  void watch(std::function<void(const StepSeen&)> watcher) { watcher_ = std::move(watcher); }

 private:
  struct Slot {
    std::optional<Episode> episode;
    EpisodeResult result;
  };

  void fill_slots(EpisodeSource& source);
  void choose_actions();
  void choose(size_t slot, std::span<const float> outputs);
  void finish_steps(EpisodeSource& source);
  void end_episode(size_t slot, EpisodeState end, EpisodeSource& source);

  const ControlSettings settings_;
  const Tensors tensors_;
  const std::unique_ptr<Environments> environments_;
  const std::unique_ptr<FloatLayers> layers_;
  const Learner& learner_;
  Mlp policy_;
  Normaliser normaliser_;
  std::function<void(const StepSeen&)> watcher_;

  uint32_t noise_epoch_ = 0;
  float sigma_ = 0;
  std::vector<Slot> slots_;
  std::vector<Command> commands_;    // [slots]
  std::vector<uint64_t> seeds_;      // [slots]
  std::vector<float> actions_;       // [slots, actions]
  std::vector<float> observations_;  // [slots, observations]
  std::vector<Step> steps_;          // [slots]
  std::vector<RowNoise> noise_;      // of the rows
  std::vector<size_t> slot_of_row_;
  std::vector<float> inputs_, outputs_;  // [rows, ...]
};

}  // namespace eggroll
