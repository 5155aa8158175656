// Who evaluates what changes no parameter: slices, tiles taken one by one, ranks that are slow,
// that stop for a while, or that are lost.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

class Schedules : public testing::Test {
 protected:
  Schedules() : data_(folder_.write("text", generated_text(30000)).string()) {}

  std::filesystem::path run() const { return folder_ / "run"; }
  std::string arguments(const std::string& more, int width = 64) const {
    return "train --data " + data_ + " --run " + run().string() +
           " --layers 1 --population 512 --tokens-per-update 40 --generations 60 --carry reset"
           " --validate-every 0 --threads 1 --digest-every 5 --width " +
           std::to_string(width) + " " + more;
  }
  std::string digest_after(const std::string& command) const {
    std::filesystem::remove_all(run());
    expect_success(command, 120);
    expect_records(run(), 60);
    return digest_of(run());
  }
  // Of all records, of those in which it stands.
  uint64_t sum_of(const std::string& field) const {
    uint64_t sum = 0;
    for (const nlohmann::json& record : metrics_of(run())) sum += record.value(field, uint64_t{0});
    return sum;
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(Schedules, GiveTheSameParametersAndMayChangeOnResume) {
  const std::string alone = digest_after(eggroll(arguments("")));
  for (const std::string schedule : {"auto", "static", "dynamic"}) {
    std::filesystem::remove_all(run());
    const std::string output = expect_success(mpirun(3, arguments("--schedule " + schedule)), 120);
    EXPECT_EQ(digest_of(run()), alone) << schedule;
    EXPECT_EQ(output.find(", tiles dynamic; ") != std::string::npos, schedule != "static")
        << output;
  }
  const std::string more = "train --generations 70 --threads 1 --resume " + run().string();
  std::filesystem::copy(run(), folder_ / "other", std::filesystem::copy_options::recursive);
  expect_success(mpirun(2, more + " --schedule static"));
  expect_success(mpirun(2, "train --generations 70 --threads 1 --resume " +
                               (folder_ / "other").string() + " --schedule dynamic"));
  EXPECT_EQ(digest_of(run()), digest_of(folder_ / "other"));
}

// Kernels slow enough that a tile takes longer than the slow rank is let run at a time.
std::string environment_of_slow_kernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return "EGGROLL_ISA=avx2";
#endif
  return "";
}

// A rank that has a twentieth of a core's time.
TEST_F(Schedules, LetTheOthersDoTheWorkOfASlowRankAndTellOfIt) {
  constexpr int kWidth = 256;
  const std::string alone = digest_after(eggroll(arguments("", kWidth)));
  std::filesystem::remove_all(run());
  RunningCommand running(
      mpirun(2, arguments("--straggler-limit 1.5", kWidth), environment_of_slow_kernels()));
  ASSERT_TRUE(reaches(run(), 1)) << running.wait(0).output;
  const pid_t slow = process_of(run(), 1);
  ASSERT_GT(slow, 0);
  std::atomic<bool> is_over = false;
  std::thread hinder([&] {
    while (!is_over) {
      kill(slow, SIGSTOP);
      usleep(9500);
      kill(slow, SIGCONT);
      usleep(500);
    }
  });
  const CommandResult result = running.wait(120);
  is_over = true;
  hinder.join();
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(digest_of(run()), alone);
  expect_records(run(), 60);
  EXPECT_EQ(lines_with(result.output, "rank 1 on ").size(), 1u) << result.output;
  EXPECT_NE(result.output.find(" is slow: a tile takes it "), std::string::npos) << result.output;
  EXPECT_EQ(lines_with(result.output, "slow                     rank 1 on ").size(), 1u)
      << result.output;
  EXPECT_GT(sum_of("tiles_given_again"), 0u);
  int slow_generations = 0;
  for (const nlohmann::json& record : metrics_of(run())) {
    const auto names = record.value("slow_ranks", std::vector<std::string>{});
    if (names.size() != 1 || !names[0].starts_with("rank 1 on ")) continue;
    ++slow_generations;
    EXPECT_EQ(record.value("slowest_rank", 0), 1);
    EXPECT_GT(record.value("slowest_tile_s", 0.0), 1.5 * record.value("usual_tile_s", 1e9));
  }
  EXPECT_GE(slow_generations, 10);
}

TEST_F(Schedules, WaitForARankThatStopsForAWhile) {
  const std::string alone = digest_after(eggroll(arguments("")));
  for (const int stopped : {0, 1}) {
    std::filesystem::remove_all(run());
    RunningCommand running(mpirun(3, arguments("")));
    ASSERT_TRUE(reaches(run(), 3)) << running.wait(0).output;
    const pid_t process = process_of(run(), stopped);
    kill(process, SIGSTOP);
    sleep(1);
    kill(process, SIGCONT);
    const CommandResult result = running.wait(120);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(digest_of(run()), alone) << "rank " << stopped;
    expect_records(run(), 60);
  }
}

}  // namespace
}  // namespace eggroll::test
