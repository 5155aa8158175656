#include "worker/control/rollout.hpp"

#include <algorithm>
#include <cmath>

#include "common/check.hpp"
#include "worker/control/elementary.hpp"
#include "worker/control/environment_types.hpp"
#include "worker/control/episode_random.hpp"

namespace eggroll {
namespace {

bool are_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

// Index of the largest; of equal ones the first.
uint32_t likeliest(std::span<const float> outputs) {
  return static_cast<uint32_t>(std::ranges::max_element(outputs) - outputs.begin());
}

// By the probabilities e^output, normalised.
uint32_t sampled(std::span<const float> outputs, double uniform) {
  const double most = *std::ranges::max_element(outputs);
  double all = 0;
  for (const float output : outputs) all += elementary::exp(output - most);
  double left = uniform * all;
  for (uint32_t i = 0; i < outputs.size(); ++i)
    if ((left -= elementary::exp(outputs[i] - most)) < 0) return i;
  return likeliest(outputs);
}

}  // namespace

Rollout::Rollout(const ControlSettings& settings, const MlpShape& shape, Tensors tensors,
                 size_t slots, std::unique_ptr<FloatLayers> layers, const Learner& learner)
    : settings_(settings),
      tensors_(tensors),
      environments_(environment_type(settings.env).make(settings.of_env, slots)),
      layers_(std::move(layers)),
      learner_(learner),
      policy_(shape, tensors.policy),
      normaliser_(shape.inputs),
      slots_(slots),
      commands_(slots),
      seeds_(slots),
      actions_(slots * spec().actions()),
      observations_(slots * spec().observations),
      steps_(slots) {
  require(shape.inputs == spec().observations, "a policy of this environment");
}

void Rollout::begin(uint32_t noise_epoch, float sigma) {
  noise_epoch_ = noise_epoch;
  sigma_ = sigma;
  noise_.clear();
  if (!tensors_.statistics) return;
  const TensorSpec& tensor = learner_.layout()[*tensors_.statistics];
  const auto* arena = static_cast<const std::byte*>(learner_.view().parameters);
  normaliser_.read({reinterpret_cast<const int64_t*>(arena + tensor.at), tensor.size()});
}

void Rollout::run(EpisodeSource& source) {
  for (Slot& slot : slots_) slot.episode.reset();
  std::ranges::fill(commands_, Command::leave);
  for (;;) {
    fill_slots(source);
    if (source.is_over() ||
        std::ranges::none_of(slots_, [](const Slot& slot) { return slot.episode.has_value(); }))
      return;
    choose_actions();
    environments_->run({commands_, seeds_, actions_, observations_, steps_});
    finish_steps(source);
  }
}

// A slot that is filled is reset while the others step.
void Rollout::fill_slots(EpisodeSource& source) {
  bool is_idle =
      std::ranges::none_of(slots_, [](const Slot& slot) { return slot.episode.has_value(); });
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].episode) continue;
    slots_[i].episode = source.next(is_idle);
    if (!slots_[i].episode) return;
    is_idle = false;
    slots_[i].result = {};
    commands_[i] = Command::reset;
    seeds_[i] = slots_[i].episode->seed;
  }
}

// Of all slots that have an observation: they are the rows of a batch.
void Rollout::choose_actions() {
  std::vector<RowNoise> noise;
  slot_of_row_.clear();
  for (size_t i = 0; i < slots_.size(); ++i)
    if (commands_[i] == Command::step) {
      slot_of_row_.push_back(i);
      noise.push_back(slots_[i].episode->noise);
    }
  if (slot_of_row_.empty()) return;
  const size_t rows = slot_of_row_.size(), in = spec().observations;
  if (noise != noise_) {
    layers_->begin(noise_epoch_, sigma_, noise);
    noise_ = std::move(noise);
  }
  inputs_.resize(rows * in);
  for (size_t row = 0; row < rows; ++row) {
    const size_t slot = slot_of_row_[row];
    const auto observation = std::span(observations_).subspan(slot * in, in);
    normaliser_.apply(observation, std::span(inputs_).subspan(row * in, in));
    if (ObservationSums* gathers = slots_[slot].episode->gathers) gathers->add(observation);
  }
  const size_t out = spec().choices > 0 ? spec().choices : spec().actions();
  outputs_.resize(rows * out);
  policy_.run(*layers_, rows, inputs_, outputs_);
  if (spec().choices == 0) layers_->tanh(outputs_);
  for (size_t row = 0; row < rows; ++row)
    choose(slot_of_row_[row], std::span(outputs_).subspan(row * out, out));
}

void Rollout::choose(size_t slot, std::span<const float> outputs) {
  const size_t count = spec().actions();
  const auto action = std::span(actions_).subspan(slot * count, count);
  if (!are_finite(outputs)) {  // which no simulator should see
    commands_[slot] = Command::leave;
    return;
  }
  const bool samples = settings_.actions == ActionChoice::sampled;
  const Episode& episode = *slots_[slot].episode;
  EpisodeRandom random(samples ? episode.action_seed + slots_[slot].result.steps : 0);
  if (spec().choices > 0) {
    action[0] =
        static_cast<float>(samples ? sampled(outputs, random.uniform()) : likeliest(outputs));
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    float chosen = outputs[i];  // in -1 ... 1
    if (samples)
      chosen = std::clamp(static_cast<float>(chosen + settings_.action_noise * random.normal()),
                          -1.0f, 1.0f);
    const float low = spec().low[i], high = spec().high[i];
    action[i] = std::clamp(low + (high - low) * (0.5f + 0.5f * chosen), low, high);
  }
}

void Rollout::finish_steps(EpisodeSource& source) {
  const size_t in = spec().observations, out = spec().actions();
  for (size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (!slot.episode) continue;
    StepSeen seen{.environments = *environments_, .slot = i};
    if (commands_[i] == Command::leave) {  // its policy gave no action
      seen.state = EpisodeState::failed;
    } else {
      seen.observation = std::span<const float>(observations_).subspan(i * in, in);
      if (commands_[i] == Command::step) {
        slot.result.total += steps_[i].reward;
        ++slot.result.steps;
        seen.action = std::span<const float>(actions_).subspan(i * out, out);
        seen.reward = steps_[i].reward;
        seen.state = state_after(steps_[i], slot.result.total, slot.result.steps, spec());
      }
      commands_[i] = Command::step;
    }
    if (watcher_) watcher_(seen);
    if (seen.state != EpisodeState::goes_on) end_episode(i, seen.state, source);
  }
}

void Rollout::end_episode(size_t i, EpisodeState end, EpisodeSource& source) {
  commands_[i] = Command::leave;
  const Episode episode = *slots_[i].episode;
  slots_[i].episode.reset();
  slots_[i].result.end = end;
  source.finish(episode, slots_[i].result);
}

}  // namespace eggroll
