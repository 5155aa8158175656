// What deploy/mpi_env.sh sets, and what a run under it prints.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

const std::string kForbidden = std::string("LD_PRELOAD=") + EGGROLL_NO_SINGLE_COPY + " ";
// ctest sets these for its own runs.
const std::string kNothingSet =
    "env -u OMPI_MCA_rmaps_base_oversubscribe -u OMPI_MCA_hwloc_base_binding_policy ";
const std::string kVariable = "OMPI_MCA_btl_vader_single_copy_mechanism";

std::string under_mpi_env(const std::string& command, const std::string& environment = "") {
  return environment + kNothingSet + "bash -euc " +
         quoted(std::string("source ") + EGGROLL_MPI_ENV + "; " + command);
}

std::string single_copy(const std::string& environment) {
  return expect_success(under_mpi_env("echo \"${" + kVariable + ":-unset}\"", environment));
}

bool may_read_others() {
  char there = 1, here = 0;
  const pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  const iovec to{&here, 1}, from{&there, 1};
  const bool worked = process_vm_readv(child, &to, 1, &from, 1, 0) == 1;
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return worked;
}

TEST(MpiEnv, TurnsSingleCopyOffWhereItIsForbiddenAndOnlyThere) {
  EXPECT_EQ(single_copy(""), may_read_others() ? "unset\n" : "none\n");
  EXPECT_EQ(single_copy(kForbidden), "none\n");
  EXPECT_EQ(single_copy(kForbidden + kVariable + "=emulated "), "emulated\n");
}

TEST(MpiEnv, LetsBothMpirunsStartMoreRanksThanCoresAndBindNone) {
  const std::string shown =
      expect_success(under_mpi_env("env | grep -E '^(OMPI|PRTE)_MCA' | sort"));
  for (const char* line :
       {"OMPI_MCA_rmaps_base_oversubscribe=1\n", "OMPI_MCA_hwloc_base_binding_policy=none\n",
        "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe\n",
        "PRTE_MCA_hwloc_default_binding_policy=none\n"})
    EXPECT_NE(shown.find(line), std::string::npos) << line << shown;
  const std::string own = "PRTE_MCA_hwloc_default_binding_policy=core";
  EXPECT_NE(expect_success(under_mpi_env("env", own + " ")).find(own + "\n"), std::string::npos);
}

TEST(MpiEnv, ARunPrintsNothingOfSingleCopyWhereItIsForbidden) {
  const ScratchFolder folder;
  const std::string data = folder.write("text", generated_text(40000)).string();
  const auto run = [&](const std::string& name) {
    return std::string(EGGROLL_LAUNCHER) + " -np 2 " + quoted(binary().string()) +
           " train --layers 2 --width 256 --population 64 --tokens-per-update 16 --threads 1"
           " --generations 3 --data " +
           data + " --run " + (folder / name).string();
  };
  const std::string output = expect_success(under_mpi_env(run("quiet"), kForbidden));
  EXPECT_EQ(output.find("Read -1"), std::string::npos) << output;
  // Open MPI 4.1 does say it where it may try, so the run above had something to be quiet about.
  const std::string loud =
      expect_success(under_mpi_env("unset " + kVariable + "; " + run("loud"), kForbidden));
  EXPECT_NE(loud.find("Read -1"), std::string::npos) << loud;
  EXPECT_EQ(digest_of(folder / "quiet"), digest_of(folder / "loud"));
}

}  // namespace
}  // namespace eggroll::test
