#include "worker/task.hpp"

#include <fmt/format.h>

#include "common/check.hpp"
#include "worker/lm/lm_task.hpp"

namespace eggroll {

std::unique_ptr<Task> make_task(const RunConfig& config, int threads, const ComputeDevice& device) {
  if (config.task == "lm") return std::make_unique<LmTask>(config, threads, device);
  throw ConfigError(fmt::format("task = {}: allowed is lm", config.task));
}

}  // namespace eggroll
