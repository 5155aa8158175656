// Environments: what a policy acts in. A class of one environment has
//
//   static EnvironmentSpec spec();                                     or a member function of that name
//   void reset(uint64_t seed, std::span<float> observation);           a new episode
//   Step step(std::span<const float> action, std::span<float> observation);
//   void draw(Drawing& to) const;                                      how it looks (drawing.hpp)
//   size_t bytes() const;                                              if it holds much
//
// and is a function of seed and actions alone: whatever episode it had before leaves no trace, so that
// a member's return does not depend on who ran it after whom. Rollouts see a batch of them at a time
// (Environments), each in a slot of its own. One thread calls; several threads have batches of their
// own.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "worker/control/drawing.hpp"

namespace eggroll {

struct EnvironmentSpec {
  std::string name = {};                   // "CartPole-v1"
  uint32_t observations = 0;               // numbers of an observation
  uint32_t choices = 0;                    // actions 0 ... choices - 1; 0: actions are numbers
  std::vector<float> low = {}, high = {};  // of each number of an action
  uint32_t step_limit = 0;  // an episode that is so long is cut off; the rollout counts

  // Numbers of an action: one, a whole one, where it is a choice.
  uint32_t actions() const { return choices > 0 ? 1 : static_cast<uint32_t>(low.size()); }
};

struct Step {
  double reward = 0;
  bool terminated = false;  // by what happened, not by the step limit
  bool failed = false;      // what simulates came to no result (physics that diverged): of no value
};

// How an episode stands after a step.
enum class EpisodeState : uint8_t {
  goes_on,
  terminated,
  truncated,  // by the step limit
  failed,     // the simulator said so, or rewards add up to no number: it has no return
};

// steps: of the episode so far, this one among them. total: of its rewards.
inline EpisodeState state_after(const Step& step, double total, uint32_t steps,
                                const EnvironmentSpec& spec) {
  if (step.failed || !std::isfinite(total)) return EpisodeState::failed;
  if (step.terminated) return EpisodeState::terminated;
  return steps >= spec.step_limit ? EpisodeState::truncated : EpisodeState::goes_on;
}

// What is asked of a slot in a round.
enum class Command : uint8_t { leave, step, reset };

class Environments {
 public:
  virtual ~Environments() = default;

  virtual const EnvironmentSpec& spec() const = 0;
  // A round: each slot is left as it is, takes a step with its action, or begins the episode of its
  // seed. Observations of slots that are left are not touched, steps only of those that stepped. A slot
  // steps after it was reset, and not after it has terminated. Actions are finite.
  struct Round {
    std::span<const Command> commands;  // [slots]
    std::span<const uint64_t> seeds;    // [slots]
    std::span<const float> actions;     // [slots, actions]
    std::span<float> observations;      // [slots, observations]
    std::span<Step> steps;              // [slots]
  };
  virtual void run(const Round& round) = 0;
  virtual void draw(size_t slot, Drawing& to) const = 0;
  // What slots hold that is worth counting.
  virtual size_t bytes() const { return 0; }
};

// Slots of one class each.
template <typename Environment>
class EachSlot final : public Environments {
 public:
  // make() gives an Environment.
  template <typename Make>
  EachSlot(size_t slots, const Make& make) {
    for (size_t slot = 0; slot < slots; ++slot) slots_.push_back(make());
    spec_ = slots_.front().spec();
  }

  const EnvironmentSpec& spec() const override { return spec_; }
  void run(const Round& round) override {
    const size_t in = spec_.observations, out = spec_.actions();
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      const auto observation = round.observations.subspan(slot * in, in);
      if (round.commands[slot] == Command::reset)
        slots_[slot].reset(round.seeds[slot], observation);
      else if (round.commands[slot] == Command::step)
        round.steps[slot] = slots_[slot].step(round.actions.subspan(slot * out, out), observation);
    }
  }
  void draw(size_t slot, Drawing& to) const override { slots_[slot].draw(to); }
  size_t bytes() const override {
    if constexpr (requires { slots_.front().bytes(); })
      return slots_.size() * slots_.front().bytes();
    return 0;
  }

 private:
  std::vector<Environment> slots_;
  EnvironmentSpec spec_;
};

}  // namespace eggroll
