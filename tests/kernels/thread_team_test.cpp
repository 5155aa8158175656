// The threads of the CPU's twin, where there are as many as were asked for, and where there are not.
#include "kernels/cpu/thread_team.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <string>

#include "common/check.hpp"

namespace eggroll::cpu {
namespace {

TEST(ThreadTeam, RunsOnEachThreadOnceAndTakesEachIndexOnce) {
  ThreadTeam team(5);
  std::array<std::atomic<int>, 5> runs{};
  std::array<std::atomic<int>, 1000> items{};
  for (int round = 1; round <= 3; ++round) {
    team.run([&](int thread) { ++runs[static_cast<size_t>(thread)]; });
    team.for_each(items.size(), [&](int, uint64_t index) { ++items[index]; });
    for (const auto& count : runs) EXPECT_EQ(count, round);
    for (const auto& count : items) EXPECT_EQ(count, round);
  }
}

// The number of threads is a user's, and root's is not limited. What the child returns.
int start_in_a_child(int threads, rlim_t most) {
  const pid_t child = fork();
  if (child == 0) {
    constexpr uid_t kUserWithoutProcesses = 64321;
    if (getuid() == 0 && setuid(kUserWithoutProcesses) != 0) _exit(3);
    const rlimit limit{most, most};
    if (setrlimit(RLIMIT_NPROC, &limit) != 0) _exit(4);
    try {
      ThreadTeam team(threads);
      _exit(5);
    } catch (const Error& error) {
      const std::string what = error.what();
      const bool says = what.starts_with("threads = " + std::to_string(threads) + ": beside ") &&
                        what.find("Resource temporarily unavailable") != std::string::npos;
      _exit(says ? 0 : 6);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;  // a signal's too
}

TEST(ThreadTeam, SaysInALineThatThereIsNoRoomForItsThreads) {
  EXPECT_EQ(start_in_a_child(2, 1), 0);
  EXPECT_EQ(start_in_a_child(64, 9), 0);  // some have started
}

}  // namespace
}  // namespace eggroll::cpu
