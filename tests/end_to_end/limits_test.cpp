// Commands in surroundings that do not give what they need: an output that takes what is printed, descriptors
// that are open, threads.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

class Limits : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new ScratchFolder;
    const std::string data = folder->write("text", generated_text(40000)).string();
    expect_success(eggroll("train --data " + data + " --run " + path("run") +
                           " --layers 1 --width 64 --population 64 --tokens-per-update 16"
                           " --generations 3"));
  }
  static void TearDownTestSuite() { delete folder; }

  static std::string path(const std::string& name) { return (*folder / name).string(); }

  static inline ScratchFolder* folder = nullptr;
};

TEST_F(Limits, AResultThatCannotBeWrittenIsAFailure) {
  const std::string swing = path("unwritten");
  expect_success(
      eggroll("train --task control --env Pendulum-v1 --layers 1 --width 8"
              " --population 4 --generations 1 --run " +
              swing));
  const std::string of_run = " --checkpoint " + path("run"), of_swing = " --checkpoint " + swing;
  std::vector<std::string> all = {
      "help",
      "inspect" + of_run,
      "inspect --json" + of_run,
      "evaluate --data " + path("text") + of_run,
      "evaluate --json --data " + path("text") + of_run,
      "evaluate --episodes 2" + of_swing,
      "evaluate --json --episodes 2" + of_swing,
      "sample --length 0" + of_run,
      "sample --length 10000" + of_run,
      "rollout --steps 1" + of_swing,
      "rollout" + of_swing,
      "bench noise --repetitions 1",
      "bench noise --repetitions 1 --json",
      "train --dry-run --population 64 --data " + path("text") + " --run " + path("dry"),
      "--help",
      "--version"};
  for (const char* command :
       {"train", "supervise", "evaluate", "sample", "rollout", "inspect", "bench"})
    all.push_back(std::string(command) + " --help");
  for (const std::string& arguments : all) {
    const CommandResult result = run_command(eggroll(arguments) + " >/dev/full");
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_EQ(result.output, "eggroll: standard output: cannot write: No space left on device\n")
        << arguments;
  }
}

TEST_F(Limits, ClosedDescriptorsStayWithoutUse) {
  const std::string nowhere = "inspect --checkpoint " + path("nowhere");
  EXPECT_EQ(run_command(eggroll(nowhere) + " 2>&-").exit_code, 2);
  EXPECT_EQ(run_command(eggroll(nowhere) + " <&- >&- 2>&-").exit_code, 2);
  EXPECT_EQ(run_command(eggroll("") + " 2>&-").exit_code, 2);
  for (const char* arguments : {"inspect --checkpoint ", "sample --length 9 --checkpoint "}) {
    const CommandResult unwritten = run_command(eggroll(arguments + path("run")) + " >&-");
    EXPECT_EQ(unwritten.exit_code, 1);
    EXPECT_EQ(unwritten.output, "eggroll: standard output: cannot write: Bad file descriptor\n");
    EXPECT_EQ(expect_success(eggroll(arguments + path("run")) + " <&- 2>&-"),
              expect_success(eggroll(arguments + path("run"))));
  }

  RunningCommand running(eggroll("train --generations 100000000 --run " + path("closed")) +
                         " --task quadratic <&- >&- 2>&-");
  ASSERT_TRUE(reaches(path("closed"), 10));
  for (const char* descriptor : {"0", "1", "2"}) {
    const auto link = "/proc/" + std::to_string(running.pid()) + "/fd/" + descriptor;
    EXPECT_EQ(std::filesystem::read_symlink(link), "/dev/null") << descriptor;
  }
}

// A stack of this size is more than there are addresses for.
TEST_F(Limits, ThreadsThatCannotBeStartedAreAFailure) {
  const std::string limit = "ulimit -s 200000000000 && ";  // KiB
  for (const std::string& arguments :
       {"evaluate --threads 64 --data " + path("text") + " --checkpoint " + path("run"),
        std::string("bench model --threads 64 --repetitions 1")}) {
    const CommandResult result = run_command(limit + eggroll(arguments) + " >/dev/null");
    EXPECT_EQ(result.exit_code, 1) << arguments;
    EXPECT_EQ(result.output,
              "eggroll: threads = 64: beside 1 of them no further thread can be started: Resource "
              "temporarily unavailable (limits are ulimit -u, pids.max of a container or job, and "
              "memory)\n")
        << arguments;
  }
}

}  // namespace
}  // namespace eggroll::test
