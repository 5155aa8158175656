// Whatever is wrong with options, files or data: one line that names it, exit code 2 of every rank,
// nothing computed and nothing written.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iostream>
#include <string>
#include <vector>

#include "kernels/cuda/devices.hpp"
#include "tests/end_to_end/misuse_cases.hpp"
#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

// All in a folder with base.ini (a complete small run), text, a finished run and broken files.
const std::vector<Case>& cases() {
  const std::string base = "train --config base.ini";
  const std::string train = base + " ";
  static const std::vector<Case> table = {
      {"unknown command",
       "tain --data text",
       {"tain", "train, supervise, evaluate, sample, rollout, inspect"},
       ""},
      {"unknown option", train + "--populatoin 64", {"populatoin", "is population meant?"}, ""},
      {"option twice", train + "--seed 1 --seed 2", {"seed", "more than once"}, ""},
      {"option without value", train + "--seed", {"seed", "a value is missing"}, ""},
      {"word that is no option", train + "64", {"64", "not an option"}, ""},
      {"unknown key", "train --config typo.ini", {"populaton (typo.ini line 2)"}, ""},
      {"key twice", "train --config twice.ini", {"width (twice.ini line 2)", "line 1"}, ""},
      {"section", "train --config section.ini", {"[model] (section.ini line 1)"}, ""},
      {"no config file", "train --config nowhere.ini", {"config = nowhere.ini"}, ""},
      {"config in another encoding",
       "train --config wide.ini",
       {"config = wide.ini (command line)", "UTF-16", "allowed is UTF-8"},
       ""},
      {"text as config", "train --config text", {"text line 1", "name = value"}, ""},
      {"odd population", train + "--population 65", {"population = 65", "even"}, ""},
      {"negative number", train + "--population -64", {"population = -64", "from 2"}, ""},
      {"not a number", train + "--population many", {"population = many", "from 2"}, ""},
      {"number and more", train + "--threads 0x", {"threads = 0x", "0 to 1024"}, ""},
      {"fraction", train + "--generations 1.5", {"generations = 1.5", "whole"}, ""},
      {"no number at all", train + "--alpha nan", {"alpha = nan", "16"}, ""},
      {"group that does not divide", train + "--group-size 10", {"group-size = 10", "64"}, ""},
      {"width not a power of 4", train + "--width 100", {"width = 100", "64, 256"}, ""},
      {"noise rank not a power of 4", train + "--noise-rank 3", {"noise-rank = 3", "1, 4"}, ""},
      {"ternary with levels",
       train + "--fitness-encoding ternary",
       {"fitness-encoding = ternary", "fitness = sign"},
       ""},
      {"storage failure",
       train + "--on-storage-failure ignore",
       {"on-storage-failure = ignore", "continue, stop"},
       ""},
      {"unknown device", train + "--device gpu", {"device = gpu", "auto, cpu, cuda"}, ""},
      {"sums of the CPU by NCCL",
       train + "--device cpu --all-reduce nccl",
       {"all-reduce = nccl", "device = cpu are auto, mpi"},
       ""},
      {"option of another task",
       "train --task quadratic --layers 2",
       {"layers (command line)", "an option of task lm", "task = quadratic"},
       ""},
      {"option of another optimiser",
       train + "--update threshold --threshold-factor 1",
       {"threshold-factor (command line)", "an option of update sigma-delta"},
       ""},
      {"optimiser of other weights",
       train + "--update adam",
       {"update = adam", "moves float32", "int8", "threshold, sigma-delta"},
       ""},
      {"unknown task", "train --task chess", {"task = chess", "allowed are lm, "}, ""},
      {"independent members of the language model",
       train + "--sampling independent --fitness raw",
       {"sampling = independent", "antithetic"},
       ""},
      {"signs of members that are no pair",
       "train --task quadratic --sampling independent --fitness sign",
       {"fitness = sign", "sampling = independent"},
       ""},
      {"shards of lost ranks",
       train + "--step sharded --survive",
       {"step = sharded", "survive = true and update = sigma-delta"},
       ""},
      {"instruction set", base, {"EGGROLL_ISA = sse9", "scalar, avx2"}, "EGGROLL_ISA=sse9"},
      {"srun that joins no ranks",
       base,
       {"srun started 4 processes", "--mpi=pmix"},
       "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0"},
      {"launcher of another MPI",
       base,
       {"started 3 processes", "PMI_SIZE", "another MPI"},
       "PMI_SIZE=3 PMI_RANK=0"},
      {"dynamic tiles with states",
       train + "--schedule dynamic",
       {"schedule = dynamic", "carry = reset only"},
       ""},
      {"straggler limit too low",
       train + "--straggler-limit 1",
       {"straggler-limit = 1", "1.1 to 1000"},
       ""},
      {"silence too short", train + "--silence-limit 1", {"silence-limit = 1", "2 to 3600"}, ""},
      {"seconds with a unit",
       train + "--max-seconds 10m",
       {"max-seconds = 10m", "0 to 4294967295"},
       ""},
      {"survive in a file", "train --config survive.ini", {"survive (survive.ini line 1)"}, ""},
      {"no data", "train", {"data = ''", "needed"}, ""},
      {"missing data", train + "--data nowhere", {"data = nowhere", "no such file"}, ""},
      {"empty data", train + "--data empty", {"data = empty", "empty"}, ""},
      {"empty folder as data", train + "--data nothing", {"data = nothing", "no text"}, ""},
      {"too little data", train + "--data small", {"population = 64", "small has 19"}, ""},
      {"run in a file", train + "--run text/run", {"run = text/run"}, ""},
      {"file as run", train + "--run text", {"run = text"}, ""},
      {"folder with a run", train + "--run done", {"run = done", "--resume done"}, ""},
      {"init nowhere", train + "--init nowhere", {"init = nowhere", "No such file"}, ""},
      {"init from a cut file", train + "--init cut.h5", {"init = cut.h5", "truncated"}, ""},
      {"init from text", train + "--init text", {"init = text", "signature"}, ""},
      {"init of another shape", train + "--init done --width 256", {"init = done", "emb"}, ""},
      {"resume nowhere", "train --resume nowhere", {"resume = nowhere"}, ""},
      {"resume of nothing", "train --resume nothing", {"resume = nothing", "no checkpoint"}, ""},
      {"resume of a cut file", "train --resume cut.h5", {"resume = cut.h5", "truncated"}, ""},
      {"resume of a copy",
       "train --resume best.hdf5 --generations 9",
       {"resume = best.hdf5", "checkpoint-000000001.h5", "--run"},
       ""},
      {"resume with another population",
       "train --resume done --population 128",
       {"population = 128", "has 64"},
       ""},
      {"resume to the past", "train --resume done --generations 2", {"generations = 2", "3"}, ""},
      {"resume and init",
       "train --resume done --init done",
       {"init = done", "excluded by resume"},
       ""},
      {"resume and auto-resume",
       "train --resume done --auto-resume",
       {"auto-resume = true", "excluded by resume"},
       ""},
      {"auto-resume with another seed",
       train + "--run done --auto-resume --seed 2",
       {"seed = 2", "the run to resume has 1"},
       ""},
      {"auto-resume with another init",
       train + "--run done --auto-resume --init done",
       {"init = done", "the run to resume has none"},
       ""},
      {"auto-resume where no checkpoint can be read",
       train + "--run damaged --auto-resume",
       {"run = damaged", "none of its 1 checkpoints can be read"},
       ""},
      {"resume on less text",
       "train --resume done --generations 9 --data less",
       {"data = less"},
       ""},
      {"evaluate without data", "evaluate --checkpoint done", {"--data PATH is missing"}, ""},
      {"evaluate without checkpoint",
       "evaluate --data text",
       {"--checkpoint PATH is missing", "evaluate --help"},
       ""},
      {"option of evaluate",
       "sample --checkpoint done --streams 2",
       {"streams", "no such option"},
       ""},
      {"evaluate missing data",
       "evaluate --checkpoint done --data nowhere",
       {"data = nowhere"},
       ""},
      {"evaluate a cut file",
       "evaluate --checkpoint cut.h5 --data text",
       {"checkpoint = cut.h5", "truncated"},
       ""},
      {"more streams than text",
       "evaluate --checkpoint done --data small --streams 12",
       {"streams = 12", "1 to 10"},
       ""},
      {"held-out part of another text",
       "evaluate --checkpoint done --data less --held-out",
       {"data = less: not the text that the model was trained on", "without --held-out"},
       ""},
      {"held-out part of nothing held out",
       "evaluate --checkpoint whole --data text --held-out",
       {"held-out = true (command line)", "held-out = 0", "without it"},
       ""},
      {"held-out part of a byte",
       "evaluate --checkpoint nearly --data text --held-out",
       {"data = text: what was held out is 1 byte"},
       ""},
      {"text of a byte",
       "evaluate --checkpoint done --data byte",
       {"data = byte: the text is 1 byte", "needed are 2"},
       ""},
      {"no streams", "evaluate --checkpoint done --data text --streams 0", {"streams = 0"}, ""},
      {"fewer than no streams", "evaluate --checkpoint done --data text --streams -1", {"-1"}, ""},
      {"unknown device to evaluate on",
       "evaluate --checkpoint done --data text --device gpu",
       {"device = gpu", "auto, cpu, cuda"},
       ""},
      {"sample from text", "sample --checkpoint text", {"checkpoint = text", "signature"}, ""},
      {"negative length", "sample --checkpoint done --length -1", {"-1"}, ""},
      {"temperature",
       "sample --checkpoint done --temperature -1",
       {"temperature = -1", "0 to 100"},
       ""},
      {"top-p", "sample --checkpoint done --top-p 0", {"top-p = 0", "up to 1"}, ""},
      {"inspect nothing", "inspect --checkpoint nothing", {"checkpoint = nothing"}, ""},
      {"inspect a word", "inspect done", {"done", "not an option", "inspect --help"}, ""},
  };
  return table;
}

// Where no GPU can be used; the words depend on the build.
std::vector<Case> cases_without_a_gpu() {
  const cuda::Devices devices = cuda::visible_devices();
  if (devices.count > 0) {
    std::cout << "not tested, this machine has it: no GPU" << std::endl;
    return {};
  }
  const std::string why = devices.is_in_build ? "no GPU can be used: " : "is built without CUDA";
  return {
      {"no GPU", "train --config base.ini --device cuda", {"device = cuda", why}, ""},
      {"no GPU, dry run",
       "train --config base.ini --device cuda --dry-run",
       {"device = cuda", why},
       ""},
      {"no NCCL", "train --config base.ini --all-reduce nccl", {"all-reduce = nccl"}, ""},
      {"no GPU to evaluate on",
       "evaluate --checkpoint done --data text --device cuda",
       {"device = cuda", why},
       ""},
      {"no GPU to sample on", "sample --checkpoint done --device cuda", {"device = cuda", why}, ""},
      {"no GPU to measure", "bench model --device cuda", {"device = cuda", why}, ""}};
}

class Misuse : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new ScratchFolder;
    const std::string text = generated_text(6000);
    folder->write("text", text);
    folder->write("less", text.substr(0, 600));
    folder->write("small", text.substr(0, 20));
    folder->write("byte", "x");
    folder->write("empty", "");
    std::filesystem::create_directory(*folder / "nothing");
    folder->write("base.ini",
                  "data = text\nlayers = 1\nwidth = 64\npopulation = 64\n"
                  "tokens-per-update = 8\ngenerations = 3\n");
    folder->write("typo.ini", "width = 64\npopulaton = 64\n");
    folder->write("twice.ini", "width = 64\nwidth = 256\n");
    folder->write("survive.ini", "survive = true\n");
    folder->write("section.ini", "[model]\nwidth = 64\n");
    // Far enough that its position lies beyond the slices of a shorter text.
    expect_success(in_folder(eggroll("train --config base.ini --run done")));
    expect_success(in_folder(eggroll("train --config base.ini --held-out 0 --run whole")));
    expect_success(in_folder(eggroll("train --config base.ini --held-out 0.0002 --run nearly")));
    const std::string whole = read_text(*folder / "done" / "checkpoint-000000003.h5");
    folder->write("cut.h5", whole.substr(0, whole.size() / 2));
    folder->write("best.hdf5", whole);
    write_control_inputs(folder->path().string());
    folder->write("damaged/checkpoint-000000003.h5", whole.substr(0, whole.size() / 2));
  }
  static void TearDownTestSuite() { delete folder; }

  static std::string in_folder(const std::string& command) {
    return "cd " + quoted(folder->path().string()) + " && " + command;
  }
  struct Refusal {
    std::string line;
    int exit_code;
  };
  static Refusal expect_refusal(const Case& c, const std::string& command) {
    const std::vector<std::string> before = listed(folder->path());
    const CommandResult result = run_command(in_folder(command), 20);
    EXPECT_EQ(result.exit_code, 2) << c.what << '\n' << result.output.substr(0, 1000);
    EXPECT_LT(result.seconds, 10) << c.what;
    std::vector<std::string> lines = lines_with(result.output, "eggroll: ");
    // Each checkpoint that cannot be used is named before.
    std::erase_if(lines, [](const auto& l) { return l.starts_with("eggroll: passing over "); });
    EXPECT_EQ(lines.size(), 1u) << c.what << '\n' << result.output.substr(0, 1000);
    EXPECT_EQ(listed(folder->path()), before) << c.what << " leaves files";
    if (lines.empty()) return {"", result.exit_code};
    for (const std::string& named : c.named)
      EXPECT_NE(lines[0].find(named), std::string::npos)
          << c.what << ": '" << named << "' is not in\n"
          << lines[0];
    return {lines[0], result.exit_code};
  }
  static const Case& case_of(const std::string& what) {
    for (const Case& c : cases())
      if (c.what == what) return c;
    throw Error("no such case: " + what);
  }

  static inline ScratchFolder* folder = nullptr;
};

// A text as code in a table of Markdown.
std::string as_code(const std::string& text) {
  std::string code;
  for (char c : text) {
    if (c == '|') code += '\\';
    code += c;
  }
  const bool holds_backticks = code.find('`') != std::string::npos;
  return holds_backticks ? fmt::format("`` {} ``", code) : fmt::format("`{}`", code);
}

// Prints the table as a document can hold it; docs/errors.md has its rows.
TEST_F(Misuse, IsRefusedInOneLineWithExitCodeTwo) {
  std::string table = "| what is wrong | command | the line | exit code |\n|---|---|---|---|\n";
  const std::string document = read_text(EGGROLL_ERRORS);
  std::vector<Case> all = cases();
  for (Case& c : control_cases()) all.push_back(std::move(c));
  for (Case& c : cases_without_a_gpu()) all.push_back(std::move(c));
  for (const Case& c : all) {
    const Refusal refusal = expect_refusal(c, eggroll(c.arguments, c.environment));
    const std::string command =
        fmt::format("{}{}eggroll {}", c.environment, c.environment.empty() ? "" : " ", c.arguments);
    EXPECT_NE(document.find(fmt::format("| {} | {} |", c.what, as_code(command))),
              std::string::npos)
        << c.what << " is not in docs/errors.md";
    table += fmt::format("| {} | {} | {} | {} |\n", c.what, as_code(command), as_code(refusal.line),
                         refusal.exit_code);
  }
  std::cout << table;
}

TEST_F(Misuse, OfEveryRankIsOneLineUnderMpirun) {
  for (const char* what : {"odd population", "too little data", "init from a cut file",
                           "instruction set", "unknown command", "evaluate missing data"}) {
    Case c = case_of(what);
    if (c.arguments.starts_with("evaluate")) c.named = {"evaluate", "without mpirun"};
    expect_refusal(c, mpirun(2, c.arguments, c.environment));
  }
}

TEST_F(Misuse, OfADeviceThatNoRankHasIsOneLineUnderMpirun) {
  for (Case& c : cases_without_a_gpu()) {
    if (!c.arguments.starts_with("train")) continue;
    if (c.named.size() > 1 && c.named[1].starts_with("no GPU")) c.named.push_back("rank 0 on host");
    expect_refusal(c, mpirun(2, c.arguments));
  }
}

TEST_F(Misuse, OfOneRankNamesTheRankAndEndsAll) {
  const std::string good = "train --config base.ini --run run ";
  expect_refusal({"only rank 1 is wrong", "", {"population = 65", "rank 1 on host"}, ""},
                 mpirun(1, good) + and_one_rank(good + "--population 65"));
  expect_refusal({"ranks differ", "", {"config", "rank 2 on", "seed = 2", "seed = 1"}, ""},
                 mpirun(2, good) + and_one_rank(good + "--seed 2"));
  const std::string resume = "train --resume done --generations 9 --data ";
  expect_refusal(
      {"ranks differ in what they resume with", "", {"options", "rank 1 on", "data = "}, ""},
      mpirun(1, resume + "text") + and_one_rank(resume + "less"));
  // The same program but for a byte at its end.
  const std::filesystem::path other = folder->path() / "other";
  std::filesystem::copy_file(binary(), other);
  std::ofstream(other, std::ios::app) << '\n';
  expect_refusal({"builds differ", "", {"build", "rank 1 on"}, ""},
                 mpirun(1, good) + and_one_rank_of(other, good));
  std::filesystem::remove(other);
}

}  // namespace
}  // namespace eggroll::test
