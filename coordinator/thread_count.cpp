#include "coordinator/thread_count.hpp"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace eggroll {
namespace {

struct NodeCores {
  char host[64] = {};
  cpu_set_t cores;
};

NodeCores my_cores() {
  NodeCores mine;
  CPU_ZERO(&mine.cores);
  const std::string host = host_name();
  std::memcpy(mine.host, host.data(), std::min(host.size(), sizeof mine.host - 1));
  if (sched_getaffinity(0, sizeof mine.cores, &mine.cores) != 0) CPU_SET(0, &mine.cores);
  return mine;
}

}  // namespace

int usable_cores() {
  const NodeCores mine = my_cores();
  return std::max(1, CPU_COUNT(&mine.cores));
}

int usable_threads(Collectives& group) {
  const NodeCores mine = my_cores();
  std::vector<NodeCores> all(static_cast<size_t>(group.size()));
  group.all_gather(bytes_of(mine), bytes_of(all));
  cpu_set_t node = mine.cores;
  int ranks = 0;
  for (const NodeCores& other : all) {
    if (std::strncmp(other.host, mine.host, sizeof mine.host) != 0) continue;
    CPU_OR(&node, &node, &other.cores);
    ++ranks;
  }
  return std::max(1, CPU_COUNT(&node) / ranks);
}

}  // namespace eggroll
