// The tasks there are, as a table. A task is a folder in worker/ and a row of it.
#pragma once

#include <string_view>
#include <vector>

#include "common/config.hpp"
#include "kernels/learner.hpp"
#include "worker/task_type.hpp"

namespace eggroll {

const std::vector<TaskType>& task_types();
// Throws OptionError where there is none of that name.
const TaskType& task_type(std::string_view name);

// What is left of the choice: a task that GPUs do not run takes the CPU. Throws OptionError where a GPU
// is asked for all the same.
DeviceChoice device_for(const TaskType& task, DeviceChoice wanted);

// Of the learner of this run.
LearnerSettings learner_settings(const RunConfig& config);

// Tasks and optimisers as common/config.hpp takes them; their checks are those of the table, what a
// task asks of its optimiser, and what an optimiser asks of a run.
const OptionCatalogue& option_catalogue();

}  // namespace eggroll
