// The commands that belong to tasks (worker/tasks.hpp): `eggroll VERB --checkpoint PATH ...`.
// Checkpoint and device are opened here, once; what is then done with them is the task's.
#pragma once

#include <string>
#include <vector>

namespace eggroll {

struct VerbEntry {
  std::string name;
  std::string help;
  std::string tasks;  // that have it
};
// Each name once.
std::vector<VerbEntry> verbs();

// Throws ConfigError where no task, or not that of the checkpoint, has such a verb.
int verb_command(const std::string& name, const std::vector<std::string>& arguments);

}  // namespace eggroll
