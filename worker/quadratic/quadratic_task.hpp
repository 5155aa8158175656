// Task quadratic: a linear model learns what another one says,
// f = -|W (x + shift) + bias - y|^2 on average over the words of a vocabulary, whose inputs x
// are rows of an embedding. The smallest task: it has a tensor of every role and a frozen one,
// so promises are tested with it, and new tasks begin as its copy: this folder, its two lines
// in worker/tasks.cpp and one in CMakeLists.txt (docs/adding.md).
#pragma once

#include "worker/task_type.hpp"

namespace eggroll {

TaskType quadratic_task_type();

}  // namespace eggroll
