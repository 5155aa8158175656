#include "coordinator/start.hpp"

#include "coordinator/records/open_checkpoint.hpp"
#include "worker/tasks.hpp"

namespace eggroll {

std::vector<std::byte> start_parameters(const RunConfig& config, const ParameterLayout& layout) {
  if (!config.init.empty())
    return parameters_for(open_checkpoint("init", config.init), "init", config.init, layout);
  std::vector<std::byte> arena(layout.bytes());
  task_type(config.task).start_values(config, layout, arena);
  return arena;
}

}  // namespace eggroll
