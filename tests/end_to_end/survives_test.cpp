// A job goes on to the parameters it would have had, whichever of its ranks are lost.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

constexpr int kRanks = 4;
constexpr size_t kGenerations = 80;
constexpr double kTimeLimit = 120;  // of a job, seconds
const std::string kLetsSurvive =
    "OMPI_MCA_orte_enable_recovery=1 OMPI_MCA_orte_abort_on_non_zero_status=0";

class Survives : public testing::Test {
 protected:
  Survives() : data_(folder_.write("text", generated_text(30000)).string()) {}

  std::filesystem::path run(const std::string& name = "run") const { return folder_ / name; }
  std::string train(const std::string& more = "", const std::string& name = "run") const {
    return "train --data " + data_ + " --run " + run(name).string() +
           " --layers 1 --width 64 --population 128 --tokens-per-update 8 --validate-every 0"
           " --threads 1 --checkpoint-every 20 --generations " +
           std::to_string(kGenerations) + " " + more;
  }
  std::string job(const std::string& more = "") const {
    return mpirun(kRanks, train("--survive " + more), kLetsSurvive);
  }
  // Of the same configuration on one process.
  std::string undisturbed_digest(const std::string& more = "") const {
    const std::string name = "undisturbed" + std::to_string(std::hash<std::string>()(more));
    if (!std::filesystem::exists(run(name))) expect_success(eggroll(train(more, name)));
    return digest_of(run(name));
  }

  // Signals ranks at one instant.
  void signal_ranks(const std::vector<int>& ranks, int signal) const {
    std::vector<pid_t> processes;
    for (const int rank : ranks) processes.push_back(process_of(run(), rank));
    for (const pid_t process : processes) {
      ASSERT_GT(process, 0);
      kill(process, signal);
    }
  }
  // The names of the lost, of all records.
  std::vector<std::string> recorded_losses() const {
    std::vector<std::string> losses;
    for (const nlohmann::json& record : metrics_of(run()))
      for (const std::string& lost : record.value("lost", std::vector<std::string>{}))
        losses.push_back(lost);
    return losses;
  }
  bool waits_for_ranks(size_t count) const {
    for (int i = 0; i < 6000; ++i, usleep(10000)) {
      const std::vector<nlohmann::json> records = metrics_of(run());
      if (!records.empty() && records.back().value("ranks", size_t{0}) == count) return true;
    }
    return false;
  }
  void expect_came_to_its_end(RunningCommand& running, const std::string& more = "") const {
    const CommandResult result = running.wait(kTimeLimit);
    EXPECT_FALSE(result.timed_out) << result.output;
    expect_run_is_complete(result.output, more);
  }
  void expect_run_is_complete(const std::string& output, const std::string& more = "") const {
    EXPECT_NE(output.find("parameters digest"), std::string::npos) << output;
    EXPECT_EQ(digest_of(run()), undisturbed_digest(more)) << output;
    expect_records(run(), kGenerations);
    for (int rank = 0; rank < kRanks; ++rank) EXPECT_EQ(process_of(run(), rank), -1) << rank;
    for (const std::string& name : listed(run())) EXPECT_FALSE(name.ends_with(".partial")) << name;
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(Survives, TheLossOfAWorkerAndThenOfRank0) {
  RunningCommand running(job());
  ASSERT_TRUE(reaches(run(), 10)) << running.wait(0).output;
  signal_ranks({2}, SIGKILL);
  EXPECT_TRUE(running.prints("rank 2 on "));
  EXPECT_TRUE(running.prints("3 ranks go on after generation "));
  ASSERT_TRUE(waits_for_ranks(3)) << running.wait(0).output;
  signal_ranks({0}, SIGKILL);
  EXPECT_TRUE(running.prints("rank 0 on "));
  EXPECT_TRUE(running.prints("2 ranks go on after generation "));
  expect_came_to_its_end(running);

  const std::vector<std::string> losses = recorded_losses();
  ASSERT_EQ(losses.size(), 2u);
  EXPECT_TRUE(losses[0].starts_with("rank 2 on ")) << losses[0];
  EXPECT_TRUE(losses[0].ends_with(": its process ended")) << losses[0];
  EXPECT_TRUE(losses[1].starts_with("rank 0 on ")) << losses[1];
  // The generation that was under way is done again from memory: nothing is lost on the way.
  for (const nlohmann::json& record : metrics_of(run()))
    EXPECT_EQ(record.contains("regroup_s"), record.contains("lost"));
}

// Float weights, Adam's slots and the fitness of ranks: what is kept in memory knows none of them.
TEST_F(Survives, ATaskWithFloatWeights) {
  const auto quadratic = [&](const std::string& name) {
    return "train --task quadratic --run " + run(name).string() +
           " --population 6000 --inputs 40 --outputs 30 --vocabulary 20 --noise-rank 3 --threads 1"
           " --checkpoint-every 20 --generations " +
           std::to_string(kGenerations) + " ";
  };
  expect_success(eggroll(quadratic("alone")));
  RunningCommand running(mpirun(kRanks, quadratic("run") + "--survive", kLetsSurvive));
  ASSERT_TRUE(reaches(run(), 10)) << running.wait(0).output;
  signal_ranks({1}, SIGKILL);
  EXPECT_TRUE(running.prints("3 ranks go on after generation "));
  const CommandResult result = running.wait(kTimeLimit);
  EXPECT_FALSE(result.timed_out) << result.output;
  EXPECT_EQ(digest_of(run()), digest_of(run("alone"))) << result.output;
  expect_records(run(), kGenerations);
}

// Whatever rank 0 had still to write or to say when it was lost, the others do.
TEST_F(Survives, TheLossOfRank0AtTheVeryEnd) {
  for (int attempt = 0; attempt < 6; ++attempt) {
    std::filesystem::remove_all(run());
    RunningCommand running(job());
    ASSERT_TRUE(reaches(run(), kGenerations / 2)) << running.wait(0).output;
    const pid_t rank0 = process_of(run(), 0);
    while (metrics_of(run()).size() < kGenerations) usleep(200);
    usleep(1000 * attempt);
    kill(rank0, SIGKILL);
    expect_came_to_its_end(running);
    EXPECT_TRUE(std::filesystem::exists(run() / "summary"));
  }
}

// The states of a rank's pairs are on that rank and its neighbour. Where both are lost at once, the
// newest checkpoint has them.
TEST_F(Survives, TheLossOfTwoNeighboursAtOnceByTheNewestCheckpoint) {
  RunningCommand running(job());
  ASSERT_TRUE(reaches(run(), 30)) << running.wait(0).output;
  signal_ranks({1, 2}, SIGKILL);
  EXPECT_TRUE(running.prints("2 ranks go on after generation "));
  expect_came_to_its_end(running);
  const std::vector<std::string> losses = recorded_losses();
  const auto names = [&](const std::string& rank) {
    return std::ranges::count_if(losses, [&](const std::string& l) { return l.starts_with(rank); });
  };
  EXPECT_EQ(names("rank 1 on "), 1);
  EXPECT_EQ(names("rank 2 on "), 1);
}

TEST_F(Survives, TheLossOfTwoNeighboursBeforeAnyCheckpointFromTheBeginning) {
  RunningCommand running(job());
  ASSERT_TRUE(reaches(run(), 3)) << running.wait(0).output;
  signal_ranks({0, 1}, SIGKILL);
  EXPECT_TRUE(running.prints("2 ranks go on after generation "));
  expect_came_to_its_end(running);
}

TEST_F(Survives, TheLossOfAllButOneOneAfterAnother) {
  RunningCommand running(job());
  ASSERT_TRUE(reaches(run(), 5)) << running.wait(0).output;
  size_t left = kRanks;
  for (const int rank : {0, 3, 1}) {
    signal_ranks({rank}, SIGKILL);
    ASSERT_TRUE(waits_for_ranks(--left)) << running.wait(0).output;
  }
  EXPECT_TRUE(running.prints("1 rank goes on after generation "));
  expect_came_to_its_end(running);
  EXPECT_EQ(recorded_losses().size(), 3u);
}

TEST_F(Survives, ALossWithStatesOfMembersAndWithoutStates) {
  for (const std::string carry : {"--carry own", "--carry reset"}) {
    std::filesystem::remove_all(run());
    RunningCommand running(job(carry));
    ASSERT_TRUE(reaches(run(), 25)) << running.wait(0).output;
    signal_ranks({1}, SIGKILL);
    expect_came_to_its_end(running, carry);
    EXPECT_EQ(recorded_losses().size(), 1u) << carry;
  }
}

TEST_F(Survives, ARankThatPausesIsWaitedFor) {
  RunningCommand running(job("--silence-limit 10"));
  ASSERT_TRUE(reaches(run(), 10)) << running.wait(0).output;
  signal_ranks({1}, SIGSTOP);
  sleep(2);
  signal_ranks({1}, SIGCONT);
  expect_came_to_its_end(running);
  EXPECT_EQ(recorded_losses(), std::vector<std::string>{});
}

// No process ended, so the others cannot know; when it wakes up it learns that they went on.
TEST_F(Survives, ARankThatIsSilentForTooLongWhichThenEndsItself) {
  RunningCommand running(job("--silence-limit 2"));
  ASSERT_TRUE(reaches(run(), 10)) << running.wait(0).output;
  const pid_t process = process_of(run(), 1);
  signal_ranks({1}, SIGSTOP);
  const bool goes_on = running.prints("rank 1 on ") && running.prints("3 ranks go on after ");
  const bool comes_to_its_end = goes_on && running.prints("parameters digest", kTimeLimit);
  kill(process, SIGCONT);
  EXPECT_TRUE(running.prints(": goes no further: the other ranks took it for lost", 20));
  for (int i = 0; i < 2000 && process_of(run(), 1) > 0; ++i) usleep(10000);
  EXPECT_EQ(process_of(run(), 1), -1);
  const CommandResult result = running.wait(kTimeLimit);
  EXPECT_FALSE(result.timed_out) << result.output;
  EXPECT_TRUE(comes_to_its_end) << result.output;
  expect_run_is_complete(result.output);
  const std::vector<std::string> losses = recorded_losses();
  ASSERT_EQ(losses.size(), 1u);
  EXPECT_TRUE(losses[0].ends_with(": silent for 2 s")) << losses[0];
}

TEST_F(Survives, NotWhereTheLauncherIsNotKnownToBearIt) {
  const std::string environment = kLetsSurvive + " LD_PRELOAD=" + EGGROLL_OPEN_MPI_5;
  const CommandResult result = run_command(mpirun(2, train("--survive"), environment), 30);
  EXPECT_EQ(lines_with(result.output,
                       "eggroll: survive = true: Open MPI v5.0.11 is not known to go on when a "
                       "rank is lost; allowed is the mpirun of Open MPI 4")
                .size(),
            1u)
      << result.output;
  EXPECT_FALSE(std::filesystem::exists(run()));
  expect_success(mpirun(2, train(""), environment));
}

TEST_F(Survives, NotWhereMpirunWouldEndTheJob) {
  for (const std::string environment :
       {"", "OMPI_MCA_orte_enable_recovery=1", "OMPI_MCA_orte_abort_on_non_zero_status=0"}) {
    const CommandResult result = run_command(mpirun(2, train("--survive"), environment), 30);
    // With any of the two mpirun returns 0, whatever its ranks return.
    EXPECT_EQ(result.exit_code, environment.empty() ? 2 : 0) << environment << '\n'
                                                             << result.output;
    EXPECT_EQ(lines_with(result.output, "eggroll: survive = true: ").size(), 1u) << result.output;
    EXPECT_NE(result.output.find("OMPI_MCA_orte_enable_recovery=1"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(run())) << environment;
  }
}

}  // namespace
}  // namespace eggroll::test
