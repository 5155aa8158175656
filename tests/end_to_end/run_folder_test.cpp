// One process writes into a run folder at a time, and status.json says how the run stands.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

class RunFolderTest : public testing::Test {
 protected:
  RunFolderTest() : data_(folder_.write("text", generated_text(30000)).string()) {}

  std::filesystem::path run() const { return folder_ / "run"; }
  std::string train(size_t generations) const {
    return "train --data " + data_ + " --run " + run().string() +
           " --layers 1 --width 64 --population 64 --tokens-per-update 8 --validate-every 0"
           " --threads 1 --checkpoint-every 20 --auto-resume --generations " +
           std::to_string(generations);
  }
  nlohmann::json status() const {
    return nlohmann::json::parse(read_text(run() / "status.json"), nullptr, false);
  }
  void expect_status(const std::string& state, int exit_code) const {
    const nlohmann::json json = status();
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json.value("state", ""), state);
    EXPECT_EQ(json.value("exit_code", -1), exit_code);
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(RunFolderTest, ASecondRunIsRefusedAndNamesTheFirst) {
  RunningCommand first(eggroll(train(100000)));
  ASSERT_TRUE(reaches(run(), 30)) << first.wait(0).output;
  expect_status("running", 0);
  const CommandResult second = run_command(mpirun(2, train(100000)), 20);
  EXPECT_EQ(second.exit_code, 2) << second.output;
  EXPECT_NE(second.output.find("process " + std::to_string(first.pid()) + " on host"),
            std::string::npos)
      << second.output;
  expect_status("running", 0);  // the first one's
  first.signal(SIGUSR2);
  EXPECT_EQ(first.wait(30).exit_code, 75);
  expect_status("stopped", 75);
  EXPECT_FALSE(std::filesystem::exists(run() / "lock"));
}

TEST_F(RunFolderTest, TheLockOfAKilledRunIsTakenOverAndSaid) {
  RunningCommand first(eggroll(train(60)));
  ASSERT_TRUE(reaches(run(), 25)) << first.wait(0).output;
  first.signal(SIGKILL);
  first.wait(10);
  ASSERT_TRUE(std::filesystem::exists(run() / "lock"));
  const std::string output = expect_success(eggroll(train(60)));
  EXPECT_NE(output.find("left locked by process " + std::to_string(first.pid())), std::string::npos)
      << output;
  expect_status("finished", 0);
  EXPECT_FALSE(std::filesystem::exists(run() / "lock"));
  expect_records(run(), 60);
}

// A colleague of the group may take it over, as all that is in the folder.
TEST_F(RunFolderTest, AllFilesHaveThePermissionsThatTheUmaskLeaves) {
  RunningCommand running("umask 002 && " + eggroll(train(100000)));
  ASSERT_TRUE(reaches(run(), 45)) << running.wait(0).output;
  running.signal(SIGKILL);
  running.wait(10);
  const auto names = listed(run());
  ASSERT_TRUE(std::ranges::count(names, "lock"));
  ASSERT_TRUE(std::ranges::any_of(
      names, [](const std::string& name) { return name.starts_with("checkpoint-"); }));
  for (const std::string& name : names)
    EXPECT_EQ(static_cast<int>(std::filesystem::status(run() / name).permissions()), 0664) << name;
}

TEST_F(RunFolderTest, ALockOfAnotherHostHoldsWhileItIsTouched) {
  std::filesystem::create_directory(run());
  const std::string words =
      R"({"host":"elsewhere","pid":7,"job":"42","since":"2026-01-01T00:00:00Z"})";
  folder_.write("run/lock", words);
  const CommandResult refused = run_command(eggroll(train(3)), 20);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.output.find("process 7 on host elsewhere (job 42)"), std::string::npos)
      << refused.output;
  EXPECT_EQ(read_text(run() / "lock"), words);
  std::filesystem::last_write_time(
      run() / "lock", std::filesystem::file_time_type::clock::now() - std::chrono::minutes(2));
  expect_success(eggroll(train(3)));
  expect_status("finished", 0);
}

TEST_F(RunFolderTest, AConfigThatAPersonWroteIsKeptBesideTheRunsOwn) {
  const std::string words = "# why these values\nwidth = 64\nlayers = 1\n";
  const auto config = [this](const std::string& more) { return run() / ("config.ini" + more); };
  const auto start = [&] {
    return expect_success(eggroll("train --data " + data_ + " --config " + config("").string() +
                                  " --run " + run().string() +
                                  " --population 64 --tokens-per-update 8 --generations 2"));
  };
  folder_.write("run/config.ini", words);
  const std::string output = start();
  EXPECT_EQ(lines_with(output, config("").string() +
                                   " is the run's own from now on; the one that "
                                   "was there is kept as " +
                                   config(".1").string())
                .size(),
            1u)
      << output;
  EXPECT_EQ(read_text(config(".1")), words);
  const std::string own = read_text(config(""));
  EXPECT_NE(own.find("\npopulation = 64\n"), std::string::npos) << own;
  // The run's own is written anew, and no copy is kept of it; of one that was written into it is.
  expect_success(eggroll("train --resume " + run().string() + " --generations 3"));
  EXPECT_FALSE(std::filesystem::exists(config(".2")));
  const std::string noted = read_text(config("")) + "# a note\n";
  folder_.write("run/config.ini", noted);
  expect_success(eggroll("train --resume " + run().string() + " --generations 4"));
  EXPECT_EQ(read_text(config(".2")), noted);
  EXPECT_EQ(read_text(config(".1")), words);
}

TEST_F(RunFolderTest, ARunThatIsStoppedAsSoonAsItGoesOnKeepsItsSummary) {
  RunningCommand first(eggroll(train(100000)));
  ASSERT_TRUE(reaches(run(), 25)) << first.wait(0).output;
  first.signal(SIGTERM);
  ASSERT_EQ(first.wait(30).exit_code, 75);
  const std::string summary = read_text(run() / "summary");
  const size_t records = metrics_of(run()).size();
  RunningCommand second(eggroll(train(100000)));
  ASSERT_TRUE(handles(second.pid(), SIGUSR2)) << second.wait(0).output;
  second.signal(SIGUSR2);
  EXPECT_EQ(second.wait(30).exit_code, 75);
  EXPECT_EQ(metrics_of(run()).size(), records);
  EXPECT_EQ(read_text(run() / "summary"), summary);
  expect_status("stopped", 75);
}

TEST_F(RunFolderTest, AFinishedRunStartedAgainChangesNothing) {
  expect_success(eggroll(train(30)));
  const std::string digest = digest_of(run());
  const std::string metrics = read_text(run() / "metrics.jsonl");
  const std::string summary = read_text(run() / "summary");
  EXPECT_NE(summary.find("validation "), std::string::npos) << summary;
  for (const std::string& command :
       {eggroll(train(30)), mpirun(2, train(30)), eggroll("train --resume " + run().string())}) {
    const std::string output = expect_success(command);
    EXPECT_TRUE(output.starts_with("the run is finished: 30 of 30 generations; run folder " +
                                   run().string() + "; "))
        << output;
    EXPECT_EQ(digest_of(run()), digest);
    EXPECT_EQ(read_text(run() / "metrics.jsonl"), metrics);
    EXPECT_EQ(read_text(run() / "summary"), summary);
    expect_status("finished", 0);
  }
}

}  // namespace
}  // namespace eggroll::test
