// Task lm: an int8 language model of bytes. Its row in the table of tasks.
#pragma once

#include "worker/task_type.hpp"

namespace eggroll {

TaskType lm_task_type();
std::vector<Verb> lm_verbs();

}  // namespace eggroll
