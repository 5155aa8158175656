// What all tasks with float weights have in common: the size and shape of a perturbation.
#pragma once

#include "common/config.hpp"
#include "common/rule_names.hpp"
#include "common/schedule.hpp"

namespace eggroll {

struct FloatSettings {
  Schedule sigma = {0.1};  // standard deviation of a perturbed weight
  Perturbation perturbation = Perturbation::low_rank;

  void declare(Options& to) {
    to.begin(OptionGroup::learning);
    sigma.declare(to, "sigma", 1e-9, 1e9, "standard deviation of a perturbed weight");
    to.choice("perturbation", perturbation,
              "of matrices: a product of two thin ones, of rank noise-rank, or a number for each "
              "weight (OpenES)");
  }
};

// For TaskType::check.
inline void check_float_run(const RunConfig& config) {
  // A sign alone would not say that a fitness is not finite.
  if (config.fitness_encoding != FitnessEncoding::float32)
    throw OptionError(
        "fitness-encoding",
        std::string(kNames<FitnessEncoding>[static_cast<size_t>(config.fitness_encoding)]),
        "the fitness of task " + config.task + " is a real number; allowed is float32");
}

}  // namespace eggroll
