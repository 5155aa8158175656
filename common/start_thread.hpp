// How threads are started: there may be no room for another (ulimit -u, pids.max of a container or a
// job, memory for its stack), which is then said in a line.
#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "common/check.hpp"

namespace eggroll {

// Throws Error where there is no room for it.
template <typename Work>
std::thread start_thread(Work&& work) {
  try {
    return std::thread(std::forward<Work>(work));
  } catch (const std::system_error& error) {
    throw Error("no further thread can be started: " + error.code().message() +
                " (limits are ulimit -u, pids.max of a container or job, and memory)");
  }
}

}  // namespace eggroll
