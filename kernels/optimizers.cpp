#include "kernels/optimizers.hpp"

#include <array>

namespace eggroll {
namespace {

template <typename Optimizer>
OptimizerType type_of() {
  using Settings = typename Optimizer::Settings;
  return {.name = Optimizer::kName,
          .help = Optimizer::kHelp,
          .moves = Optimizer::kMoves,
          .slots = Optimizer::kSlots,
          .steps_without_update = Optimizer::kStepsWithoutUpdate,
          .declare = [](Options& to) -> std::shared_ptr<void> {
            auto settings = std::make_shared<Settings>();
            settings->declare(to);
            return settings;
          },
          .check =
              [](const OptionTexts& texts, const StepContext& last) {
                Optimizer::check(read_settings<Settings>(texts), last);
              },
          .numbers =
              [](const OptionTexts& texts, StepContext context) {
                const auto settings = read_settings<Settings>(texts);
                StepNumbers numbers;
                for (const Noise noise : {Noise::low_rank, Noise::product, Noise::full}) {
                  context.noise = noise;
                  numbers.put(noise, Optimizer::numbers(settings, context));
                }
                return numbers;
              },
          .metrics =
              [](const OptionTexts& texts, const StepContext& context) {
                return Optimizer::metrics(read_settings<Settings>(texts), context);
              }};
}

}  // namespace

std::span<const OptimizerType> optimizer_types() {
  static const auto kTypes = []<typename... Each>(std::tuple<Each...>*) {
    return std::array{type_of<Each>()...};
  }(static_cast<Optimizers*>(nullptr));
  return kTypes;
}

const OptimizerType& optimizer_type(std::string_view name) {
  std::string allowed;
  for (const OptimizerType& type : optimizer_types()) {
    if (type.name == name) return type;
    (allowed += allowed.empty() ? "" : ", ") += type.name;
  }
  throw OptionError("update", std::string(name), "allowed are " + allowed);
}

}  // namespace eggroll
