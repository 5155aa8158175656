#include "worker/tasks.hpp"

#include <algorithm>

#include "common/rule_names.hpp"
#include "kernels/optimizers.hpp"
#include "worker/control/control_task.hpp"
#include "worker/lm/lm_task_type.hpp"
#include "worker/quadratic/quadratic_task.hpp"

namespace eggroll {
namespace {

// What the layout's trained elements are.
Element trained_element(const TaskType& task, const RunConfig& config) {
  const ParameterLayout layout = task.layout(config);
  const TensorSpec* first = nullptr;
  for (const TensorSpec& tensor : layout.tensors()) {
    if (!tensor.is_trained()) continue;
    if (!first) first = &tensor;
    require(tensor.element == first->element, "trained tensors of one element");
  }
  if (!first)
    throw ConfigError("task = " + config.task + ": all its tensors are frozen, nothing is learnt");
  return first->element;
}

void check_optimizer(const OptimizerType& optimizer, const RunConfig& config) {
  const Element element = trained_element(task_type(config.task), config);
  if (optimizer.moves != element) {
    std::string allowed;
    for (const OptimizerType& other : optimizer_types())
      if (other.moves == element) (allowed += allowed.empty() ? "" : ", ") += other.name;
    throw OptionError("update", config.update,
                      "moves " + std::string(name_of(optimizer.moves)) + "; the weights of task " +
                          config.task + " are " + std::string(name_of(element)) + "; allowed are " +
                          allowed);
  }
  const bool keeps_integers = std::ranges::any_of(
      optimizer.slots, [](const Slot& slot) { return slot.element == Element::int32; });
  if (keeps_integers && !compares_pairs(config.fitness))
    throw OptionError("fitness",
                      std::string(kNames<FitnessRule>[static_cast<size_t>(config.fitness)]),
                      "what d = 1 stands for changes from generation to generation, and update = " +
                          config.update + " keeps sums of d; allowed with it are sign, levels");
  if (config.step == StepMode::sharded && config.survive && !optimizer.slots.empty())
    throw OptionError("step", "sharded",
                      "sharded is not allowed with survive = true and update = " + config.update +
                          ": what a lost rank has gathered for its shard would be lost with it");
  const uint64_t largest_d = static_cast<uint64_t>(largest_utility(config.fitness));
  optimizer.check(
      config.of_update,
      {.generation = config.generations - 1,
       .generations = config.generations,
       .population = config.population,
       .sum_squares = config.pairs() * config.perturbations_per_pair() * largest_d * largest_d,
       .noise = Noise::low_rank,
       .noise_rank = config.noise_rank});
}

OptionCatalogue make_catalogue() {
  OptionCatalogue catalogue;
  for (const TaskType& task : task_types())
    catalogue.tasks.push_back({.name = task.name,
                               .help = task.help,
                               .defaults = task.defaults,
                               .declare = task.declare,
                               .check = [&task](const RunConfig& config) {
                                 device_for(task, config.device);
                                 task.check(config);
                               }});
  for (const OptimizerType& optimizer : optimizer_types())
    catalogue.updates.push_back(
        {.name = std::string(optimizer.name),
         .help = std::string(optimizer.help),
         .defaults = {},
         .declare = optimizer.declare,
         .check = [&optimizer](const RunConfig& config) { check_optimizer(optimizer, config); }});
  return catalogue;
}

}  // namespace

const std::vector<TaskType>& task_types() {
  static const std::vector<TaskType> types = {
      lm_task_type(),
      control_task_type(),
      quadratic_task_type(),
  };
  return types;
}

const TaskType& task_type(std::string_view name) {
  std::string allowed;
  for (const TaskType& type : task_types()) {
    if (type.name == name) return type;
    (allowed += allowed.empty() ? "" : ", ") += type.name;
  }
  throw OptionError("task", std::string(name),
                    (task_types().size() == 1 ? "allowed is " : "allowed are ") + allowed);
}

DeviceChoice device_for(const TaskType& task, DeviceChoice wanted) {
  if (task.runs_on_cuda) return wanted;
  if (wanted == DeviceChoice::cuda)
    throw OptionError("device", "cuda",
                      "task " + std::string(task.name) + " runs on the CPU; allowed are auto, cpu");
  return DeviceChoice::cpu;
}

LearnerSettings learner_settings(const RunConfig& config) {
  return {.layout = task_type(config.task).layout(config),
          .seed = config.seed,
          .noise_rank = config.noise_rank,
          .optimizer = config.update};
}

const OptionCatalogue& option_catalogue() {
  static const OptionCatalogue catalogue = make_catalogue();
  return catalogue;
}

}  // namespace eggroll
