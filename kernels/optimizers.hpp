// The optimisers there are. Each is one header and one name in Optimizers below; the loops of both
// twins are made from it. It says what it moves, what it keeps for each trained weight, and how one
// weight is stepped by its sum Z = sum_j d_j E_j (arXiv 2511.16652, the update; g = scale Z).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "common/options.hpp"
#include "kernels/optimizers/adam.hpp"
#include "kernels/optimizers/momentum.hpp"
#include "kernels/optimizers/sgd.hpp"
#include "kernels/optimizers/sigma_delta.hpp"
#include "kernels/optimizers/threshold.hpp"

namespace eggroll {

using Optimizers = std::tuple<Threshold, SigmaDelta, Sgd, Momentum, Adam, AdamW>;

// What is known of an optimiser without its type.
struct OptimizerType {
  std::string_view name;
  std::string_view help;
  Element moves;                // the weights it can step
  std::span<const Slot> slots;  // what it keeps for each trained weight
  bool steps_without_update;    // also after a generation without a difference
  // Declares its rows, bound to settings that live as long as the returned pointer.
  std::shared_ptr<void> (*declare)(Options& to);
  // Throws OptionError where settings and run do not go together. last: of the run's last step,
  // with the largest sum of squares it can have.
  void (*check)(const OptionTexts& settings, const StepContext& last);
  StepNumbers (*numbers)(const OptionTexts& settings, StepContext context);
  StepMetrics (*metrics)(const OptionTexts& settings, const StepContext& context);
};

std::span<const OptimizerType> optimizer_types();
// Throws ConfigError where there is none of that name.
const OptimizerType& optimizer_type(std::string_view name);

// Calls work.template operator()<Optimizer>() for the one of this name.
template <typename Work>
void with_optimizer(std::string_view name, Work&& work) {
  [&]<typename... Each>(std::tuple<Each...>*) {
    ((name == Each::kName ? (work.template operator()<Each>(), true) : false) || ...);
  }(static_cast<Optimizers*>(nullptr));
}

}  // namespace eggroll
