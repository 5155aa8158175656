// An interrupted run goes on to the parameters it would have had, on any number of ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

constexpr int kStopped = 75;          // exit code: to be started again
constexpr size_t kGenerations = 800;  // some seconds: long enough to be interrupted

class Resumes : public testing::Test {
 protected:
  Resumes() : data_(folder_.write("text", generated_text(30000)).string()) {}

  std::filesystem::path run(const std::string& name = "run") const { return folder_ / name; }
  std::string train(const std::string& more, const std::string& name = "run",
                    size_t generations = kGenerations) const {
    return "train --data " + data_ + " --run " + run(name).string() +
           " --layers 1 --width 64 --population 128 --tokens-per-update 16 --validate-every 0"
           " --threads 1 --generations " +
           std::to_string(generations) + " " + more +
           (more.find("--checkpoint-every") == std::string::npos ? " --checkpoint-every 50" : "");
  }
  std::string resume(const std::string& more = "", const std::string& name = "run") const {
    return "train --threads 1 --resume " + run(name).string() + " " + more;
  }
  // Of the same configuration without any interruption; run once.
  const std::string& undisturbed_digest() const {
    static const std::string digest = [&] {
      expect_success(eggroll(train("", "undisturbed")));
      return digest_of(run("undisturbed"));
    }();
    return digest;
  }
  static size_t generation_of(const std::filesystem::path& run) {
    return inspect(run).value("generation", size_t{0});
  }
  size_t generation_of_newest() const { return generation_of(run()); }

  std::vector<std::filesystem::path> checkpoints() const {  // oldest first
    std::vector<std::filesystem::path> files;
    for (const std::string& name : listed(run()))
      if (name.ends_with(".h5")) files.push_back(run() / name);
    return files;
  }

  // Sends a signal in the middle of a run to the process the command started.
  CommandResult interrupted(const std::string& command, int signal) const {
    RunningCommand running(command);
    EXPECT_TRUE(reaches(run(), 120)) << running.wait(0).output;
    running.signal(signal);
    const CommandResult result = running.wait(30);
    EXPECT_FALSE(result.timed_out) << result.output;
    return result;
  }
  void expect_stopped_in_the_middle_with_a_checkpoint(const CommandResult& result) const {
    EXPECT_NE(result.output.find("--resume " + run().string()), std::string::npos) << result.output;
    const size_t stopped = generation_of_newest();
    EXPECT_GE(stopped, 120u);
    EXPECT_LT(stopped, kGenerations);
    expect_records(run(), stopped);
  }
  void expect_goes_on_to_the_end(const std::string& command) const {
    expect_success(command);
    EXPECT_EQ(digest_of(run()), undisturbed_digest());
    expect_records(run(), kGenerations);
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(Resumes, AfterOneRankWasKilledOnFewerAndOnMoreRanks) {
  for (int killed : {2, 0}) {
    std::filesystem::remove_all(run());
    RunningCommand running(mpirun(3, train("")));
    ASSERT_TRUE(reaches(run(), 120)) << running.wait(0).output;
    const pid_t process = process_of(run(), killed);
    ASSERT_GT(process, 0);
    kill(process, SIGKILL);
    const CommandResult result = running.wait(20);
    EXPECT_FALSE(result.timed_out) << "the other ranks wait for one that is lost";
    EXPECT_NE(result.exit_code, 0);
    const size_t kept = generation_of_newest();
    EXPECT_GE(kept, 100u);
    EXPECT_LT(kept, kGenerations);
    EXPECT_EQ(kept % 50, 0u);
    expect_goes_on_to_the_end(mpirun(killed == 2 ? 2 : 4, resume()));
  }
}

TEST_F(Resumes, AfterASignalToOneProcessWhichEndsWellWithACheckpoint) {
  for (int signal : {SIGTERM, SIGINT, SIGUSR2}) {
    std::filesystem::remove_all(run());
    const CommandResult result = interrupted(eggroll(train("")), signal);
    EXPECT_EQ(result.exit_code, kStopped) << result.output;
    expect_stopped_in_the_middle_with_a_checkpoint(result);
    expect_goes_on_to_the_end(signal == SIGTERM ? mpirun(2, resume()) : eggroll(resume()));
  }
}

// mpirun passes a signal on as SIGCONT, SIGTERM and SIGKILL, so many seconds apart, and returns 1.
TEST_F(Resumes, AfterControlCToMpirunWhichLeavesTimeForACheckpoint) {
  const CommandResult result =
      interrupted(mpirun(3, train(""), "OMPI_MCA_odls_base_sigkill_timeout=3"), SIGINT);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  expect_stopped_in_the_middle_with_a_checkpoint(result);
  expect_goes_on_to_the_end(mpirun(4, resume()));
}

// A SIGCONT that is not followed by SIGTERM continues a job, whether it was suspended or not.
TEST_F(Resumes, WithoutAStopWhereMpirunSuspendsAndContinuesTheJob) {
  RunningCommand running(mpirun(2, train("")));
  ASSERT_TRUE(reaches(run(), 120)) << running.wait(0).output;
  running.signal(SIGTSTP);
  ASSERT_TRUE(running.prints("Forwarding signal"));
  for (const int rank : {0, 1}) EXPECT_TRUE(is_suspended(process_of(run(), rank))) << rank;
  const size_t suspended = metrics_of(run()).size();
  running.signal(SIGCONT);
  ASSERT_TRUE(reaches(run(), suspended + 20)) << running.wait(0).output;
  running.signal(SIGCONT);
  const CommandResult result = running.wait(60);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(digest_of(run()), undisturbed_digest());
  expect_records(run(), kGenerations);
}

TEST_F(Resumes, ASignalToASingleRankStopsAllOfThemWell) {
  RunningCommand running(mpirun(3, train("")));
  ASSERT_TRUE(reaches(run(), 120)) << running.wait(0).output;
  const pid_t process = process_of(run(), 1);
  ASSERT_GT(process, 0);
  kill(process, SIGTERM);
  const CommandResult result = running.wait(30);
  EXPECT_EQ(result.exit_code, kStopped) << result.output;
  expect_stopped_in_the_middle_with_a_checkpoint(result);
  expect_goes_on_to_the_end(mpirun(2, resume()));
}

// mpirun passes SIGUSR2 on to all ranks as it is, and returns what they return.
TEST_F(Resumes, AfterSigusr2ToMpirunByTheCommandThatStartedIt) {
  const std::string command = mpirun(3, train("--auto-resume"));
  const CommandResult result = interrupted(command, SIGUSR2);
  EXPECT_EQ(result.exit_code, kStopped) << result.output;
  expect_stopped_in_the_middle_with_a_checkpoint(result);
  expect_goes_on_to_the_end(command);
}

// By nohup, or as a script's background job.
TEST_F(Resumes, NoStopByASignalThatWasIgnoredFromTheStart) {
  RunningCommand running("trap '' HUP INT; " + eggroll(train("")));
  ASSERT_TRUE(reaches(run(), 120)) << running.wait(0).output;
  running.signal(SIGHUP);
  running.signal(SIGINT);
  EXPECT_EQ(running.wait(60).exit_code, 0);
  EXPECT_EQ(digest_of(run()), undisturbed_digest());
}

TEST_F(Resumes, AStopBeforeTheFirstGenerationLeavesACheckpointToo) {
  RunningCommand running(eggroll(train("--auto-resume")));
  // From its first line on the program knows the signal; then it starts MPI, reads and checks.
  ASSERT_TRUE(handles(running.pid(), SIGUSR2)) << running.wait(0).output;
  running.signal(SIGUSR2);
  const CommandResult result = running.wait(30);
  EXPECT_EQ(result.exit_code, kStopped) << result.output;
  ASSERT_EQ(checkpoints().size(), 1u) << result.output;
  EXPECT_EQ(generation_of_newest(), 0u);
  expect_goes_on_to_the_end(eggroll(train("--auto-resume")));
}

TEST_F(Resumes, AStartStopsWhenItsSecondsAreUsedUpAndTheNextGoesOn) {
  constexpr size_t kFarMore = 10'000'000;
  const std::string budget = "--max-seconds 1",
                    begin = train("--auto-resume " + budget, "run", kFarMore);
  size_t stopped = 0;
  for (const std::string& command : {eggroll(begin), mpirun(3, begin), mpirun(2, resume(budget))}) {
    const CommandResult result = run_command(command, 60);
    EXPECT_EQ(result.exit_code, kStopped) << result.output;
    EXPECT_NE(
        result.output.find("stopped after max-seconds = 1; go on with: eggroll train --resume"),
        std::string::npos)
        << result.output;
    const size_t before = stopped;
    stopped = generation_of_newest();
    EXPECT_GT(stopped, before);
    ASSERT_LT(stopped, kFarMore);
    expect_records(run(), stopped);
  }
  expect_success(eggroll(train("", "whole", stopped)));
  EXPECT_EQ(digest_of(run()), digest_of(run("whole")));
  // It was of these starts alone.
  EXPECT_EQ(inspect(run()).value("config", "").find("max-seconds"), std::string::npos);
  expect_success(eggroll(resume("--generations " + std::to_string(stopped + 1))));
}

TEST_F(Resumes, ACheckpointCanBeAskedForWithoutAStop) {
  RunningCommand running(eggroll(train("--checkpoint-every 0")));
  ASSERT_TRUE(reaches(run(), 100)) << running.wait(0).output;
  EXPECT_EQ(checkpoints(), std::vector<std::filesystem::path>{});
  running.signal(SIGUSR1);
  ASSERT_TRUE(reaches(run(), 600));
  const size_t generation = generation_of_newest();
  EXPECT_GE(generation, 100u);
  EXPECT_LT(generation, 600u);
  EXPECT_EQ(running.wait(60).exit_code, 0);
  EXPECT_EQ(generation_of_newest(), kGenerations);
}

TEST_F(Resumes, PassingOverADamagedNewestCheckpointAndSayingSo) {
  interrupted(eggroll(train("")), SIGTERM);
  const std::vector<std::filesystem::path> files = checkpoints();
  ASSERT_GE(files.size(), 2u);
  const std::filesystem::path newest = files.back(), before = files[files.size() - 2];
  std::filesystem::resize_file(newest, std::filesystem::file_size(newest) / 2);

  const std::string output = expect_success(mpirun(2, resume()));
  EXPECT_EQ(lines_with(output, "eggroll: passing over " + newest.string() + ": ").size(), 1u)
      << output;
  const std::string kept = std::to_string(std::stoul(before.stem().string().substr(11)));
  EXPECT_NE(output.find("resumed after generation " + kept), std::string::npos) << output;
  EXPECT_EQ(digest_of(run()), undisturbed_digest());
  expect_records(run(), kGenerations);
}

TEST_F(Resumes, AFinishedRunWithMoreGenerations) {
  // A pace of alpha in percent stays that of the generations first planned.
  expect_success(eggroll(train("--alpha-decay 45", "undisturbed", 130)));
  for (const std::string pace : {"45", "50%"}) {
    std::filesystem::remove_all(run());
    expect_success(eggroll(train("--alpha-decay " + pace, "run", 90)));
    EXPECT_EQ(generation_of_newest(), 90u);
    expect_success(mpirun(2, resume("--generations 130")));
    EXPECT_EQ(generation_of_newest(), 130u);
    EXPECT_EQ(digest_of(run()), digest_of(run("undisturbed"))) << pace;
    expect_records(run(), 130);
  }
}

TEST_F(Resumes, WithTheValidationThatWasDueWhenItWasStopped) {
  constexpr size_t kAll = 400;
  const auto command = [this](const std::string& name) {
    return eggroll("train --data " + data_ + " --run " + run(name).string() +
                   " --layers 1 --width 64 --population 64 --tokens-per-update 8"
                   " --validate-every 1 --threads 1 --generations " +
                   std::to_string(kAll));
  };
  const char* key = "validation_bits_per_byte";
  EXPECT_EQ(interrupted(command("run"), SIGINT).exit_code, kStopped);
  const size_t stopped = metrics_of(run()).size();
  ASSERT_LT(stopped, kAll);
  ASSERT_FALSE(metrics_of(run()).back().contains(key)) << "a stop waits for no validation";
  expect_success(mpirun(2, resume()));
  expect_success(command("undisturbed"));
  const std::vector<nlohmann::json> records = metrics_of(run()),
                                    others = metrics_of(run("undisturbed"));
  ASSERT_EQ(records.size(), kAll);
  ASSERT_EQ(others.size(), kAll);
  for (size_t i = 0; i < kAll; ++i) {
    ASSERT_TRUE(records[i].contains(key)) << records[i];
    EXPECT_EQ(records[i][key], others[i][key]) << i;
  }
  EXPECT_EQ(digest_of(run()), digest_of(run("undisturbed")));
  expect_records(run(), kAll);
}

TEST_F(Resumes, WithoutAValidationThatWasNotDue) {
  EXPECT_EQ(interrupted(eggroll(train("")), SIGTERM).exit_code, kStopped);
  const size_t stopped = metrics_of(run()).size();
  ASSERT_LT(stopped, kGenerations - 1);
  expect_success(eggroll(resume("--generations " + std::to_string(stopped + 1))));
  expect_records(run(), stopped + 1);
  const std::vector<nlohmann::json> records = metrics_of(run());
  EXPECT_FALSE(records[stopped - 1].contains("validation_bits_per_byte"));
  EXPECT_TRUE(records[stopped].contains("validation_bits_per_byte"));
}

TEST_F(Resumes, WithAClockThatGoesOn) {
  expect_success(eggroll(train("", "run", 40)));
  for (const char* generations : {"41", "42", "80"})
    expect_success(eggroll(resume(std::string("--generations ") + generations)));
  double before = 0;
  for (const nlohmann::json& record : metrics_of(run())) {
    const double elapsed = record.value("elapsed_s", 0.0), own = record.value("generation_s", 0.0);
    EXPECT_GE(elapsed - before, 0.999 * own) << record;
    before = elapsed;
  }
  expect_records(run(), 80);
}

TEST_F(Resumes, AFinishedRunAsItIsChangesNothing) {
  expect_success(eggroll(train("", "run", 60)));
  const std::string metrics = read_text(run() / "metrics.jsonl");
  const std::vector<std::string> files = listed(run());
  const std::string digest = digest_of(run());
  expect_success(eggroll(resume()));
  EXPECT_EQ(digest_of(run()), digest);
  EXPECT_EQ(listed(run()), files);
  EXPECT_EQ(read_text(run() / "metrics.jsonl"), metrics);
}

TEST_F(Resumes, InTheFolderOfTheRealFileThatALinkLeadsTo) {
  namespace fs = std::filesystem;
  expect_success(eggroll(train("", "exp.h5", 60)));
  const fs::path folder = folder_ / "elsewhere", link = folder / "latest.h5";
  fs::create_directory(folder);
  fs::create_symlink(run("exp.h5") / "checkpoint-000000060.h5", link);
  const std::string there = "cd " + quoted(folder.string()) + " && ";
  expect_success(there + eggroll("train --resume latest.h5 --generations 70"));
  expect_success(eggroll("train --resume " + run("exp.h5").string() + " --generations 80"));
  const std::string here = "cd " + quoted(run("exp.h5").string()) + " && ";
  expect_success(here + eggroll("train --resume checkpoint-000000080.h5 --generations 90"));
  expect_records(run("exp.h5"), 90);
  EXPECT_EQ(generation_of(run("exp.h5")), 90u);
  EXPECT_EQ(listed(folder), std::vector<std::string>{"latest.h5"});
}

TEST_F(Resumes, FromOneCheckpointIntoAnotherFolder) {
  expect_success(eggroll(train("--keep-checkpoints 100", "first")));
  const std::filesystem::path middle = run("first") / "checkpoint-000000550.h5";
  const std::vector<std::string> before = listed(run("first"));
  expect_success(eggroll("train --resume " + middle.string() + " --run " + run().string()));
  EXPECT_EQ(digest_of(run()), undisturbed_digest());
  EXPECT_EQ(listed(run("first")), before);
}

}  // namespace
}  // namespace eggroll::test
