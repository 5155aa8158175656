// The same configuration trains the same parameters on any number of ranks, threads and with any
// instruction set.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/files/hdf5_file.hpp"
#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

class RankCount : public testing::Test {
 protected:
  RankCount() : data_(folder_.write("text", generated_text(30000)).string()) {}

  // 72 pairs are five tiles: no number of ranks from 2 to 4 divides them.
  std::string arguments(const std::string& more, int generations = 20) const {
    return "train --data " + data_ + " --run " + run().string() +
           " --layers 1 --width 64 --population 144 --tokens-per-update 8"
           " --validate-every 10 --digest-every 5 --generations " +
           std::to_string(generations) + " " + more;
  }
  std::filesystem::path run() const { return folder_ / "run"; }
  void expect_run(const std::string& command) const {
    std::filesystem::remove_all(run());
    expect_success(command);
  }
  std::string digest_after(const std::string& command) const {
    expect_run(command);
    return digest_of(run());
  }

  void expect_same_with_every_instruction_set(const std::string& command) const {
    const std::string scalar = digest_after(eggroll(command, "EGGROLL_ISA=scalar"));
    for (const std::string isa : {"avx2", "avxvnni", "avx512", "amx"}) {
      std::filesystem::remove_all(run());
      const CommandResult result = run_command(eggroll(command, "EGGROLL_ISA=" + isa));
      if (result.exit_code == 2 &&
          result.output.find("this processor does not have it") != std::string::npos) {
        std::cout << "not tested, this machine lacks it: " << isa << std::endl;
        continue;
      }
      EXPECT_EQ(result.exit_code, 0) << result.output;
      EXPECT_NE(result.output.find("cpu " + isa), std::string::npos) << result.output;
      EXPECT_EQ(digest_of(run()), scalar) << isa;
    }
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(RankCount, ParametersAreTheSameOnAnyNumberOfRanksAndThreads) {
  const std::string alone = digest_after(eggroll(arguments("--threads 1")));
  EXPECT_EQ(alone.size(), 16u);
  EXPECT_EQ(digest_after(eggroll(arguments("--threads 2"))), alone);
  for (int ranks = 1; ranks <= 4; ++ranks)
    for (const char* threads : {"1", "2"})
      EXPECT_EQ(digest_after(mpirun(ranks, arguments(std::string("--threads ") + threads))), alone)
          << ranks << " ranks, " << threads << " threads";
  EXPECT_NE(digest_after(eggroll(arguments("--seed 2"))), alone);
}

TEST_F(RankCount, CheckpointsAndMetricsAreTheSameOnAnyNumberOfRanks) {
  std::string hash;
  std::vector<std::vector<double>> figures;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    // Each checkpoint is the last one of its run: one between may be late.
    expect_run(mpirun(ranks, arguments("--threads 1 --carry own", 7)));
    for (const char* generations : {"14", "20"})
      expect_success(mpirun(
          ranks, "train --threads 1 --resume " + run().string() + " --generations " + generations));
    const auto file = hdf5::File::open(run() / "checkpoint-000000014.h5");
    const std::string content = file.text("content_xxh3").value_or("none");
    if (ranks == 1) hash = content;
    EXPECT_EQ(content, hash) << ranks;
    EXPECT_EQ(listed(run()),
              (std::vector<std::string>{"checkpoint-000000007.h5", "checkpoint-000000014.h5",
                                        "checkpoint-000000020.h5", "config.ini", "metrics.jsonl",
                                        "status.json", "summary"}));
    expect_records(run(), 20);
    std::vector<double> known;
    for (const nlohmann::json& record : metrics_of(run()))
      for (const char* name : {"train_integer_bits_per_byte", "changed_parameters", "ties",
                               "active_pairs", "sum_squares", "validation_bits_per_byte"})
        known.push_back(record.value(name, -1.0));
    figures.push_back(known);
    EXPECT_EQ(figures.back(), figures.front()) << ranks;
  }
}

TEST_F(RankCount, ParametersAreTheSameWithEveryInstructionSet) {
  expect_same_with_every_instruction_set(arguments(""));
}

TEST_F(RankCount, FloatParametersAreTheSameWithEveryInstructionSet) {
  for (const char* more : {"", " --perturbation full", " --noise-rank 3 --update momentum"})
    expect_same_with_every_instruction_set("train --task quadratic --generations 100 --run " +
                                           run().string() + more);
}
TEST_F(RankCount, ShardsThatEachRankStepsComeToTheSameParametersAndCheckpoints) {
  for (const std::string update : {"sigma-delta", "threshold"}) {
    const std::string options = "--threads 1 --update " + update;
    const std::string alone = digest_after(eggroll(arguments(options)));
    for (int ranks = 1; ranks <= 4; ++ranks) {
      // Stops and goes on, with other ranks and the other way to step in between. The first of a
      // run's checkpoints is always written; nothing else is due with it.
      expect_run(mpirun(ranks, arguments(options + " --step sharded --checkpoint-every 3", 7)));
      const std::string first = (run() / "checkpoint-000000003.h5").string();
      const std::string other = (folder_ / "other").string();
      std::filesystem::remove_all(other);
      expect_success(
          mpirun(ranks, "train --resume " + first + " --run " + other + " --generations 20"));
      EXPECT_EQ(digest_of(other), alone) << update << ", " << ranks << " ranks, from generation 3";
      expect_success(mpirun(5 - ranks, "train --resume " + run().string() + " --generations 14"));
      expect_success(mpirun(
          ranks, "train --step replicated --resume " + run().string() + " --generations 20"));
      EXPECT_EQ(digest_of(run()), alone) << update << ", " << ranks << " ranks";
      expect_records(run(), 20);
    }
  }
}

TEST_F(RankCount, FitnessAsTernaryValuesTrainsTheSameParameters) {
  const std::string full = digest_after(mpirun(3, arguments("--fitness sign")));
  EXPECT_EQ(digest_after(mpirun(3, arguments("--fitness sign --fitness-encoding ternary"))), full);
  EXPECT_EQ(digest_after(eggroll(arguments("--fitness sign --fitness-encoding ternary"))), full);
  EXPECT_NE(digest_after(eggroll(arguments("--fitness levels"))), full);
}

TEST_F(RankCount, ARunsOwnConfigTrainsTheSameParametersAgain) {
  const std::string first =
      digest_after(eggroll(arguments("--carry own --alpha-decay 42% --update threshold")));
  const std::filesystem::path config = folder_ / "again.ini";
  std::filesystem::copy_file(run() / "config.ini", config);
  EXPECT_EQ(digest_after(mpirun(2, "train --config " + config.string())), first);
}

}  // namespace
}  // namespace eggroll::test
