// The commands beside `train` and those of tasks (verbs.hpp): one process, no messages. Each
// returns its exit code.
#pragma once

#include <string>
#include <vector>

namespace eggroll {

// What is in a checkpoint.
int inspect_command(const std::vector<std::string>& arguments);
// What the kernels do on this machine.
int bench_command(const std::vector<std::string>& arguments);
// Keeps a training job going.
int supervise_command(const std::vector<std::string>& arguments);

}  // namespace eggroll
