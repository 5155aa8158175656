// The program with a GPU, an emulated one (tests/cuda_emulation), as a person starts it: the
// parameters are those of the CPU.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

class Device : public testing::Test {
 protected:
  Device() {
    folder_.write("text", generated_text(6000));
    folder_.write(
        "base.ini",
        "data = text\nlayers = 1\nwidth = 64\npopulation = 64\n"
        "tokens-per-update = 4\ngenerations = 3\nvalidate-streams = 2\nvalidate-every = 0\n"
        "held-out = 0.02\n");
  }
  std::string here(std::string command) const {
    return "cd " + quoted(folder_.path().string()) + " && " + command;
  }
  // The same command with the program that has a GPU.
  std::string with_gpu(std::string command) const {
    const std::string program = binary().string();
    for (size_t at = 0; (at = command.find(program, at)) != std::string::npos;) {
      command.replace(at, program.size(), EGGROLL_CUDA_EMULATED);
      at += std::string(EGGROLL_CUDA_EMULATED).size();
    }
    return here(command);
  }
  static void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in:\n" << text;
  }

  ScratchFolder folder_;
};

TEST_F(Device, AutoTakesTheGpuAndComesToTheParametersOfTheCpu) {
  expect_success(here(eggroll("train --config base.ini --run cpu")));
  const std::string text = expect_success(with_gpu(eggroll("train --config base.ini --run gpu")));
  expect_in(text, "1 rank, cuda");
  EXPECT_EQ(digest_of(folder_ / "gpu"), digest_of(folder_ / "cpu"));
  expect_in(expect_success(with_gpu(eggroll("train --config base.ini --run other --device cpu"))),
            "1 rank, cpu");
  EXPECT_EQ(digest_of(folder_ / "other"), digest_of(folder_ / "cpu"));
}

TEST_F(Device, ARunGoesOnOnAnotherDevice) {
  expect_success(here(eggroll("train --config base.ini --run cpu --generations 4")));
  expect_success(here(eggroll("train --config base.ini --run run --generations 2")));
  expect_success(with_gpu(eggroll("train --resume run --generations 3 --device cuda")));
  expect_success(here(eggroll("train --resume run --generations 4 --device cpu")));
  EXPECT_EQ(digest_of(folder_ / "run"), digest_of(folder_ / "cpu"));
}

TEST_F(Device, EvaluateGivesTheSameSums) {
  expect_success(here(eggroll("train --config base.ini --run run")));
  folder_.write("short", generated_text(60));
  const std::string evaluate = "evaluate --checkpoint run --data short --streams 2";
  const auto score = [](const std::string& text) {
    const auto lines = lines_with(text, "score sum");
    return lines.empty() ? "no score in:\n" + text : lines[0];
  };
  EXPECT_EQ(score(expect_success(with_gpu(eggroll(evaluate + " --device cuda")))),
            score(expect_success(here(eggroll(evaluate + " --device cpu")))));
}

TEST_F(Device, TwoRanksOnOneGpuAreRefusedAndOnTheCpuNot) {
  const CommandResult result =
      run_command(with_gpu(mpirun(2, "train --config base.ini --run run")), 20);
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(lines_with(result.output, "eggroll: ").size(), 1u) << result.output;
  expect_in(result.output, ": 2 ranks, 1 GPU visible: a GPU takes one rank; start 1 there");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
  expect_success(with_gpu(mpirun(2, "train --config base.ini --run run --device cpu")));
}

TEST_F(Device, ADryRunSaysWhatTheHostNeedsAndForetellsNothingOfTheGpu) {
  const std::string text = expect_success(with_gpu(eggroll("train --config base.ini --dry-run")));
  expect_in(text, "MiB of the host: fitness");
  expect_in(text, "that of the GPU is not foretold");
}

}  // namespace
}  // namespace eggroll::test
