// A job that dies or hangs is started again, to the parameters it would have had; a job that cannot
// live is not, and nothing is left of either.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

constexpr size_t kGenerations = 400;

class Supervises : public testing::Test {
 protected:
  Supervises() : data_(folder_.write("text", generated_text(30000)).string()) {}

  std::filesystem::path run(const std::string& name = "run") const { return folder_ / name; }
  std::string train(const std::string& name = "run") const {
    return "train --data " + data_ + " --run " + run(name).string() +
           " --layers 1 --width 64 --population 64 --tokens-per-update 8 --validate-every 0"
           " --threads 1 --checkpoint-every 30 --generations " +
           std::to_string(kGenerations);
  }
  static std::string supervised(const std::string& options, const std::string& job) {
    return "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
           " OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none " +
           eggroll("supervise " + options + " -- " + job);
  }
  static std::string ranks(int count, const std::string& arguments) {
    return "mpirun -np " + std::to_string(count) + " " + quoted(binary().string()) + " " +
           arguments;
  }
  const std::string& undisturbed_digest() const {
    static const std::string digest = [&] {
      expect_success(eggroll(train("undisturbed")));
      return digest_of(run("undisturbed"));
    }();
    return digest;
  }
  void expect_whole() const {
    EXPECT_EQ(digest_of(run()), undisturbed_digest());
    expect_records(run(), kGenerations);
    expect_nothing_left();
  }
  // The process that trains, of a job without mpirun.
  pid_t trainer() const {
    const auto status = nlohmann::json::parse(read_text(run() / "status.json"), nullptr,
                                              /*allow_exceptions=*/false);
    return status.is_object() ? status.value("pid", pid_t{-1}) : -1;
  }
  void expect_nothing_left() const {
    for (int rank = 0; rank < 4; ++rank) EXPECT_LT(process_of(run(), rank), 0);
    EXPECT_FALSE(std::filesystem::exists(run() / "lock"));
  }
  static size_t count(const std::string& text, const std::string& part) {
    return lines_with(text, part).size();
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(Supervises, AJobWhoseRankIsKilledIsStartedAgain) {
  RunningCommand job(supervised("", ranks(3, train())));
  ASSERT_TRUE(reaches(run(), 50)) << job.wait(0).output;
  kill(process_of(run(), 1), SIGKILL);
  const CommandResult result = job.wait(120);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(count(result.output, "supervise: the job is gone"), 1u) << result.output;
  EXPECT_EQ(count(result.output, "supervise: 1 restart;"), 1u) << result.output;
  expect_whole();
}

TEST_F(Supervises, AJobThatHangsIsEndedWithItsStoppedRankAndStartedAgain) {
  RunningCommand job(supervised("--hang-after 3", ranks(3, train())));
  ASSERT_TRUE(reaches(run(), 50)) << job.wait(0).output;
  kill(process_of(run(), 2), SIGSTOP);
  const CommandResult result = job.wait(120);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(count(result.output, "supervise: the job is gone: hung"), 1u) << result.output;
  expect_whole();
}

TEST_F(Supervises, ASignalStopsTheRunWithACheckpoint) {
  RunningCommand job(supervised("", ranks(2, train())));
  ASSERT_TRUE(reaches(run(), 50)) << job.wait(0).output;
  job.signal(SIGTERM);
  const CommandResult stopped = job.wait(60);
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  expect_nothing_left();
  const size_t generation = inspect(run()).value("generation", size_t{0});
  EXPECT_GE(generation, 50u);
  EXPECT_LT(generation, kGenerations);
  expect_success(supervised("", ranks(2, train())), 120);
  expect_whole();
}

// As SLURM does it with all processes of a job.
TEST_F(Supervises, AJobThatIsSuspendedWithItsSupervisorAndContinued) {
  RunningCommand job(supervised("--hang-after 1", ranks(2, train())));
  ASSERT_TRUE(reaches(run(), 50)) << job.wait(0).output;
  const std::vector<pid_t> all = {job.pid(), process_of(run(), 0), process_of(run(), 1)};
  for (const pid_t process : all) kill(process, SIGSTOP);
  for (const pid_t process : all) EXPECT_TRUE(is_suspended(process));
  std::this_thread::sleep_for(std::chrono::seconds(10));
  for (const pid_t process : all) kill(process, SIGCONT);
  const CommandResult result = job.wait(120);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(count(result.output, "supervise: "), 0u) << result.output;
  expect_whole();
}

TEST_F(Supervises, AJobThatIsToOutliveItsTerminal) {
  RunningCommand job("trap '' HUP INT; " +
                     supervised("", quoted(binary().string()) + " " + train()));
  ASSERT_TRUE(reaches(run(), 50)) << job.wait(0).output;
  const pid_t process = trainer();
  ASSERT_GT(process, 0);
  for (const int number : {SIGHUP, SIGINT}) {
    job.signal(number);
    kill(process, number);
  }
  const CommandResult result = job.wait(120);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(count(result.output, "supervise: "), 0u) << result.output;
  expect_whole();
}

TEST_F(Supervises, AlsoWhereNobodyReadsWhatItSays) {
  RunningCommand job(supervised("", quoted(binary().string()) + " " + train()) + " 2>&1 | true");
  ASSERT_TRUE(reaches(run(), 50)) << job.wait(0).output;
  const pid_t process = trainer();
  ASSERT_GT(process, 0);
  kill(process, SIGKILL);
  job.wait(120);
  expect_whole();
}

TEST_F(Supervises, AJobThatDiesWithoutAGenerationIsNotStartedForEver) {
  // And leaves a child behind, in a session of its own.
  const std::string child = (folder_ / "child").string();
  std::filesystem::create_symlink("/bin/sleep", child);
  const std::filesystem::path program =
      folder_.write("dies", "#!/bin/sh\nsetsid " + child + " 300 &\nsleep 0.2\nkill -9 $$\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const CommandResult result = run_command(supervised("", program.string() + " " + train()), 60);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_EQ(count(result.output, "supervise: 2 deaths in a row without one generation"), 1u)
      << result.output;
  EXPECT_NE(run_command("pgrep -f " + quoted("^" + child)).exit_code, 0) << "a child is left";
}

// Each start cuts the records back to the checkpoint, adds one, and dies before anybody has looked.
TEST_F(Supervises, AGenerationInAShortLifeCounts) {
  const std::filesystem::path program = folder_.write("dies", R"(#!/bin/sh
mkdir -p "$RUN" && cd "$RUN" && touch checkpoint-000000003.h5
last=9; [ -e begun ] && last=4; touch begun
for g in $(seq $last); do echo "{\"generation\":$g}"; done >records
mv records metrics.jsonl
echo "{\"state\":\"running\",\"pid\":$$}" >status.json
kill -9 $$
)");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const CommandResult result =
      run_command("RUN=" + quoted(run().string()) + " " +
                      supervised("--max-restarts 4", program.string() + " " + train()),
                  60);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_EQ(count(result.output, "supervise: the job is gone"), 5u) << result.output;
  EXPECT_EQ(count(result.output, "supervise: started again 4 times already"), 1u) << result.output;
}

TEST_F(Supervises, RestartsAreCounted) {
  RunningCommand job(supervised("--max-restarts 0", ranks(2, train())));
  ASSERT_TRUE(reaches(run(), 50)) << job.wait(0).output;
  kill(process_of(run(), 1), SIGKILL);
  const CommandResult result = job.wait(60);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_EQ(count(result.output, "supervise: started again 0 times already"), 1u) << result.output;
}

TEST_F(Supervises, ARunThatIsFinishedIsNotStartedForEver) {
  expect_success(eggroll(train()));
  const std::string summary = read_text(run() / "summary");
  const CommandResult result = run_command(supervised("", ranks(2, train() + " --survive")), 60);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(count(result.output, "the run is finished: "), 1u) << result.output;
  EXPECT_EQ(count(result.output, "supervise: "), 0u) << result.output;
  EXPECT_EQ(read_text(run() / "summary"), summary);
  expect_whole();
}

TEST_F(Supervises, HostsThatDoNotAnswerAreLeftOut) {
  const std::string job = "mpirun --host {hosts} -np {ranks} " + quoted(binary().string()) + " ";
  const CommandResult result = run_command(
      supervised("--hosts localhost:2,nowhere:3 --probe 'test {host} = localhost'", job + train()),
      120);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(count(result.output, "supervise: host nowhere does not answer"), 1u) << result.output;
  EXPECT_NE(result.output.find(", 2 ranks,"), std::string::npos) << result.output;
  expect_whole();
}

TEST_F(Supervises, WrongInputIsRefusedBeforeAnythingStarts) {
  const std::string good = ranks(2, train());
  for (const std::string& command :
       {supervised("--max-restarts x", good), supervised("--hang-after 0", good),
        supervised("--hosts n1:0", good), supervised("--hosts n1:2", good),
        supervised("", ranks(2, "evaluate")),
        supervised("", ranks(2, train() + " --population 65")),
        supervised("", good + " : -np 1 true"), supervised("", ""),
        supervised("", ranks(2, "train --resume run/checkpoint-000000001.h5"))}) {
    const CommandResult result = run_command(command, 20);
    EXPECT_EQ(result.exit_code, 2) << command << '\n' << result.output;
    EXPECT_EQ(lines_with(result.output, "eggroll: ").size(), 1u) << result.output;
  }
  EXPECT_FALSE(std::filesystem::exists(run()));
}

}  // namespace
}  // namespace eggroll::test
