// Task: turns a member's number into a fitness. Higher is better. A task owns its data and the model
// that it runs; it reads the parameters of a Learner that is handed to it, runs the pairs that a
// PairSource hands out, and sends no messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/carried_states.hpp"
#include "common/generation_plan.hpp"
#include "common/pair_source.hpp"
#include "common/tally.hpp"

namespace eggroll {

// The fitness of a generation's members, summed up; not finite ones are left out of all figures
// but their number.
struct FitnessSummary {
  double mean = 0;
  double best = 0;
  double worst = 0;
  double deviation = 0;  // the root of the mean square distance from the mean
  uint64_t not_finite = 0;
};

// A figure that people and programs are shown: a key of metrics.jsonl, and, where it has a label, a
// word on the progress line ("train 3.252 bits/byte").
struct Metric {
  std::string name = {};
  double value = 0;
  std::string unit = {};
  std::string label = {};
  // Beside the value in the summary ("exact"); one without a label follows the one before.
  std::string note = {};
};

// What evaluation went through beside members: "tokens", "steps".
struct Work {
  std::string unit;
  double amount = 0;
};

class Task {
 public:
  virtual ~Task() = default;

  // Of all it reads, 16 hex digits: the same on all ranks and after a resume. Empty: it reads nothing.
  virtual std::string data_digest() const { return ""; }
  // What a person is told of the data when a run begins, a line each.
  virtual std::vector<std::string> data_remarks() const { return {}; }
  // How fitness is computed, where that is not the same bits on every processor: ranks must agree on
  // it, and a resume says that it differs ("mujoco 3.1.2").
  virtual std::string arithmetic() const { return "exact"; }

  // Standard deviation of a perturbed weight in this generation, in units of the weights' own scale.
  // Asked of rank 0 alone; the plan brings it to all.
  virtual double sigma(uint64_t generation) const = 0;

  // Runs the members of all pairs that the source hands out.
  virtual void evaluate(const GenerationPlan& plan, PairSource& source) = 0;
  // This rank's share of looking at the unperturbed model; shares add up over ranks.
  virtual Tally validate(int rank, int ranks) = 0;

  // What is shown of a generation, from the tallies of all its members; and of a validation: none where
  // nothing was looked at.
  virtual std::vector<Metric> train_metrics(const Tally& tally,
                                            const FitnessSummary& fitness) const = 0;
  virtual std::vector<Metric> validation_metrics(const Tally& tally) const = 0;
  virtual std::optional<Work> work(const Tally&) const { return std::nullopt; }

  // A frozen tensor of int64 to which every tile adds, and which every rank, validation and verbs see
  // in the learner from the next generation on: statistics of what members meet. As part of the
  // parameters it is stored, resumed and compared with them. What a tile adds must depend on it alone.
  virtual std::optional<size_t> running_sums() const { return std::nullopt; }

  // Of members that carry something from generation to generation; they stay with the rank that holds
  // them. nullptr: there is nothing, and any rank may run any pair.
  virtual CarriedStates* carried() { return nullptr; }

  // What a person reads the final validation beside, one line a figure; slow, asked for once by one
  // rank.
  virtual std::vector<std::string> reference_lines() const { return {}; }
};

inline bool carries_states(Task& task) {
  const CarriedStates* carried = task.carried();
  return carried && carried->slots_per_pair() > 0;
}

}  // namespace eggroll
