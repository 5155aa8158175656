// What a wrong option says: one line with key, value, source and what is allowed.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/config.hpp"
#include "tests/support/run_configs.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

using namespace std::string_literals;
using namespace test;

std::string command_line_refusal(const Arguments& arguments) {
  return refusal([&] { parse_train_config(arguments, option_catalogue()); });
}

std::string text_refusal(const std::string& text) {
  return refusal([&] { parse_config_text(text, "x.ini", option_catalogue()); });
}

std::string validation_refusal(const Arguments& arguments) {
  return refusal([&] {
    const ParsedConfig parsed = parse_train_config(arguments, option_catalogue());
    validate_config(parsed.config, option_catalogue(), parsed.given);
  });
}

TEST(ConfigErrors, RefusesBadCommandLines) {
  const std::pair<Arguments, std::string> cases[] = {
      {{"--population", "7"},
       "population = 7 (command line): allowed are even numbers from 2 to 4294967296"},
      {{"--population", "4294967298"},
       "population = 4294967298 (command line): allowed are even numbers from 2 to 4294967296"},
      {{"--population=0"},
       "population = 0 (command line): allowed are even numbers from 2 to 4294967296"},
      {{"--seed", "10x"},
       "seed = 10x (command line): allowed are whole numbers from 0 to 18446744073709551615"},
      {{"--seed", "18446744073709551616"},
       "seed = 18446744073709551616 (command line): allowed are whole numbers from 0 to "
       "18446744073709551615"},
      {{"--seed", "-5"},
       "seed = -5 (command line): allowed are whole numbers from 0 to 18446744073709551615"},
      {{"--seed", ""},
       "seed = '' (command line): allowed are whole numbers from 0 to 18446744073709551615"},
      {{"--seed", " 5"},
       "seed =  5 (command line): allowed are whole numbers from 0 to 18446744073709551615"},
      {{"--seed", "1.5"},
       "seed = 1.5 (command line): allowed are whole numbers from 0 to 18446744073709551615"},
      {{"--alpha", "nan"}, "alpha = nan (command line): allowed are numbers from 1e-06 to 16"},
      {{"--alpha", "inf"}, "alpha = inf (command line): allowed are numbers from 1e-06 to 16"},
      {{"--alpha", "0"}, "alpha = 0 (command line): allowed are numbers from 1e-06 to 16"},
      {{"--alpha", "4,5"}, "alpha = 4,5 (command line): allowed are numbers from 1e-06 to 16"},
      {{"--alpha-decay", "0%"},
       "alpha-decay = 0% (command line): allowed are numbers from 0.001 to 1e12, or percentages "
       "of the generations such as 42%"},
      {{"--width", "128"},
       "width = 128 (command line): allowed are 64, 256, 1024, 4096: powers of 4, whose scale "
       "1/(16 sqrt(width)) is exact"},
      {{"--carry", "Own"}, "carry = Own (command line): allowed are own, pair, reset"},
      {{"--on-storage-failure", "go_on"},
       "on-storage-failure = go_on (command line): allowed are continue, stop"},
      {{"--update", "newton"},
       "update = newton (command line): allowed are " + names_of(option_catalogue().updates)},
      {{"--fitness", "rank"},
       "fitness = rank (command line): allowed are sign, levels, raw, z-score, centred-rank, "
       "group"},
      {{"--device", "gpu"}, "device = gpu (command line): allowed are auto, cpu, cuda"},
      {{"--all-reduce", "ring"}, "all-reduce = ring (command line): allowed are auto, mpi, nccl"},
      {{"--step", "half"}, "step = half (command line): allowed are replicated, sharded"},
      {{"--data", ""}, "data = '' (command line): allowed is a path"},
      {{"--data", "a\nb"}, "data = a?b (command line): allowed is a path"},
      {{"--seed"}, "seed (command line): a value is missing"},
      {{"--seed="}, "seed (command line): a value is missing"},
      {{"--seed", "--width", "64"},
       "seed = --width (command line): a value was expected, not an option (one can begin with -- "
       "in "
       "--seed=VALUE)"},
      {{"--data", "--dry-run"},
       "data = --dry-run (command line): a value was expected, not an option (one can begin with "
       "-- "
       "in --data=VALUE)"},
      {{"--dry-run=1"}, "dry-run (command line): takes no value"},
      {{"--seed", "1", "--seed", "1"}, "seed (command line): given more than once"},
      {{"--dry-run", "--dry-run"}, "dry-run (command line): given more than once"},
      {{"--poplation", "8"},
       "poplation (command line): there is no such option; is population meant?"},
      {{"--poplation=8"},
       "poplation (command line): there is no such option; is population meant?"},
      {{"--group_size=8"},
       "group_size (command line): there is no such option; is group-size meant?"},
      {{"--gener", "8"}, "gener (command line): there is no such option; is generations meant?"},
      {{"--confg", "8"}, "confg (command line): there is no such option; is config meant?"},
      {{"--Seed", "8"}, "Seed (command line): there is no such option; is seed meant?"},
      {{"--blue"}, "blue (command line): there is no such option; eggroll train --help lists them"},
      {{"corpus.txt"},
       "corpus.txt (command line): not an option; options begin with --, eggroll train --help "
       "lists them"},
      {{"--data", "x", "y"},
       "y (command line): not an option; options begin with --, eggroll train --help lists them"},
      {{"--dry-run", "yes"},
       "yes (command line): not an option; options begin with --, eggroll train --help lists them"},
      {{"-s", "1"},
       "-s (command line): not an option; options begin with --, eggroll train --help lists them"},
      {{""},
       "'' (command line): not an option; options begin with --, eggroll train --help lists them"},
      {{"--", "--seed"},
       "--seed (command line): not an option; options begin with --, eggroll train --help lists "
       "them"},
      {{"--init", "a", "--resume", "b"},
       "init = a (command line): excluded by resume, which goes on with the parameters of the run"},
      {{"--auto-resume", "--resume", "b"},
       "auto-resume = true (command line): excluded by resume, which names what to go on with"},
      {{"--config", "/nowhere/x.ini"},
       "config = /nowhere/x.ini (command line): cannot be read: No such file or directory"},
      {{"--config", "/"}, "config = / (command line): cannot be read: Is a directory"},
      {{"--config", ""}, "config = '' (command line): allowed is a path"},
  };
  for (const auto& [arguments, expected] : cases)
    EXPECT_EQ(command_line_refusal(arguments), expected);
}

TEST(ConfigErrors, RefusesEachNumberJustOutsideItsRange) {
  const struct {
    const char* name;
    std::vector<std::string> good, bad;
  } cases[] = {
      {"population", {"2", "4294967296"}, {"1", "3", "4294967297", "1e3"}},
      {"group-size", {"2", "4294967294"}, {"0", "1", "3", "4294967296", "-2"}},
      {"layers", {"1", "64"}, {"0", "65"}},
      {"width", {"64", "256", "1024", "4096"}, {"0", "16", "65", "512", "16384"}},
      {"noise-rank", {"1", "65536"}, {"0", "65537", "-1"}},
      {"sigma-shift", {"1", "8"}, {"0", "9", "-4"}},
      {"tokens-per-update", {"1", "65536"}, {"0", "65537"}},
      {"generations", {"1", "4294967294"}, {"0", "4294967295"}},
      {"noise-reuse", {"0", "4294967295"}, {"-1", "4294967296"}},
      {"alpha", {"0.000001", "1", "16"}, {"0", "1e-7", "16.01", "-1", "-nan", "1e400", "0x1"}},
      {"alpha-decay", {"0.001", "1e12", "100%"}, {"0", "-1", "nan", "%", "4%%", "4 %", "2e12"}},
      {"threshold-factor", {"0.01", "64"}, {"0", "64.1", "-1"}},
      {"held-out", {"0", "0.5"}, {"-0.01", "0.51", "5%"}},
      {"threads", {"0", "1024"}, {"-1", "1025"}},
      {"keep-checkpoints", {"1", "18446744073709551615"}, {"0"}},
      {"validate-streams", {"1", "4294967295"}, {"0"}},
      {"validate-every", {"0"}, {"-1", "+1"}},
      {"checkpoint-every", {"0"}, {"-1", ""}},
      {"max-seconds", {"0", "4294967295"}, {"-1", "4294967296", "1.5", "10m"}},
      {"checkpoint-seconds", {"0", "4294967295"}, {"-1", "4294967296", "1.5"}},
      {"digest-every", {"0"}, {"-1", "1 "}},
  };
  for (const auto& [name, good, bad] : cases) {
    for (const std::string& value : good)
      EXPECT_EQ(command_line_refusal({"--"s + name, value}), "no error") << name << value;
    for (const std::string& value : bad) {
      const std::string words = command_line_refusal({"--"s + name, value});
      const std::string start = name + " = "s + (value.empty() ? "''" : value) + " (command line)";
      EXPECT_EQ(words.find(start + ": allowed are "), 0u) << words;
    }
  }
}

TEST(ConfigErrors, RefusesBadFilesAndNamesTheLine) {
  const std::pair<std::string, std::string> cases[] = {
      {"[model]\nwidth = 64\n",
       "[model] (x.ini line 1): a section; options stand in one list without them"},
      {"seed = 1\n  [a] = 3",
       "[a] = 3 (x.ini line 2): a section; options stand in one list without them"},
      {"seed", "seed (x.ini line 1): lines are `name = value` or # comments"},
      {"seed = 1\nseed = 1", "seed (x.ini line 2): given before (x.ini line 1)"},
      {"\n\nseed =",
       "seed = '' (x.ini line 3): allowed are whole numbers from 0 to "
       "18446744073709551615"},
      {"data = # none", "data = '' (x.ini line 1): allowed is a path"},
      {"layers = 0", "layers = 0 (x.ini line 1): allowed are whole numbers from 1 to 64"},
      {"= 5", "'' (x.ini line 1): there is no such option; eggroll train --help lists them"},
      {"with = 64", "with (x.ini line 1): there is no such option; is width meant?"},
      {"model.width = 64",
       "model.width (x.ini line 1): there is no such option; eggroll train --help lists them"},
      {"--width = 64", "--width (x.ini line 1): there is no such option; is width meant?"},
      {"help = true", "help (x.ini line 1): belongs on the command line"},
      {"config = other.ini", "config (x.ini line 1): belongs on the command line"},
      {"resume = run", "resume (x.ini line 1): belongs on the command line"},
      {"auto-resume = true", "auto-resume (x.ini line 1): belongs on the command line"},
      {"max-seconds = 60", "max-seconds (x.ini line 1): belongs on the command line"},
      {"dry-run = true", "dry-run (x.ini line 1): belongs on the command line"},
      {"data = \"a",
       "data = \"a (x.ini line 1): a value in quotes ends with them; inside, write "
       "\\\" and \\\\"},
      {"data = \"a\" b",
       "data = \"a\" b (x.ini line 1): a value in quotes ends with them; inside, "
       "write \\\" and \\\\"},
      {"da\x01ta = x", "da?ta (x.ini line 1): there is no such option; is data meant?"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(text_refusal(text), expected);
}

TEST(ConfigErrors, ErrorsOfAFileCarryItsPath) {
  const test::ScratchFolder folder;
  const std::string file = folder.write("x.ini", "seed = 1\npopulation = 7\n").string();
  EXPECT_EQ(command_line_refusal({"--config", file, "--population", "8"}),
            "population = 7 (" + file + " line 2): allowed are even numbers from 2 to 4294967296");
  const std::string large = folder.write("large.ini", std::string((1 << 20) + 1, '\n')).string();
  EXPECT_EQ(command_line_refusal({"--config", large}),
            "config = " + large + " (command line): larger than 1 MiB, so not a config file");
  const std::pair<std::string, std::string> marks[] = {{"\xFF\xFE"s, "UTF-16"},
                                                       {"\xFE\xFF"s, "UTF-16"},
                                                       {"\xFF\xFE\0\0"s, "UTF-32"},
                                                       {"\0\0\xFE\xFF"s, "UTF-32"}};
  for (const auto& [mark, encoding] : marks) {
    const std::string other = folder.write("other.ini", mark + "s\0"s).string();
    EXPECT_EQ(command_line_refusal({"--config", other}),
              "config = " + other + " (command line): is " + encoding + " text; allowed is UTF-8");
  }
}

TEST(ConfigErrors, ErrorsAreOneShortLineWhateverTheInput) {
  std::mt19937 random(7);
  const std::string letters = "ab=[]#\"\\\n\r\t\0\x7F\xFFseedwidth123 -.%"s;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int length = static_cast<int>(random() % 400); length > 0; --length)
      text += letters[random() % letters.size()];
    const std::string words = text_refusal(text);
    EXPECT_EQ(words.find("not a ConfigError"), std::string::npos) << words;
    EXPECT_EQ(words.find_first_of("\n\r"), std::string::npos);
    EXPECT_LT(words.size(), 400u);
  }
  EXPECT_LT(command_line_refusal({"--seed", std::string(100'000, '9')}).size(), 300u);
  EXPECT_LT(command_line_refusal({"--" + std::string(100'000, 's')}).size(), 300u);
  EXPECT_LT(text_refusal(std::string(100'000, 's')).size(), 300u);
}

TEST(ConfigErrors, RefusesCombinationsThatExcludeEachOther) {
  const std::pair<Arguments, std::string> cases[] = {
      {{}, "data = '' (default): needed is a file or a folder of text, as in --data corpus.txt"},
      {{"--data", "x", "--group-size", "6"},
       "group-size = 6 (command line): allowed are even numbers that divide population = 1024"},
      {{"--data", "x", "--population", "10", "--group-size", "20"},
       "group-size = 20 (command line): allowed are even numbers that divide population = 10"},
      {{"--data", "x", "--device", "cpu", "--all-reduce", "nccl"},
       "all-reduce = nccl (command line): nccl adds up in the memory of GPUs; allowed with device "
       "= "
       "cpu are auto, mpi"},
      {{"--data", "x", "--noise-rank", "2"},
       "noise-rank = 2 (command line): allowed are 1, 4, 16: powers of 4, whose scale 1/sqrt(rank) "
       "is "
       "exact"},
      {{"--data", "x", "--sampling", "independent"},
       "fitness = levels (default): it compares the members of a pair, which have nothing in "
       "common "
       "with sampling = independent; allowed there are raw, z-score, centred-rank, group"},
      {{"--data", "x", "--sampling", "independent", "--fitness", "raw"},
       "sampling = independent (command line): allowed with task = lm is antithetic"},
      {{"--data", "x", "--fitness", "z-score"},
       "fitness = z-score (command line): what d = 1 stands for changes from generation to "
       "generation, and update = sigma-delta keeps sums of d; allowed with it are sign, levels"},
      {{"--task", "quadratic", "--update", "adamw", "--learning-rate", "0.5", "--weight-decay",
        "2.5"},
       "weight-decay = 2.5: times learning-rate = 0.5 it is more than 1, so weights would change "
       "their sign"},
      {{"--data", "x", "--fitness-encoding", "float32"},
       "fitness-encoding = float32 (command line): the fitness of task lm is an integer; allowed "
       "are "
       "int32, and ternary with fitness = sign"},
      {{"--data", "x", "--schedule", "dynamic"},
       "schedule = dynamic (command line): dynamic is allowed with carry = reset only: states that "
       "members carry stay with the rank that holds them"},
      {{"--data", "x", "--population", "4294967296", "--fitness", "z-score", "--update",
        "threshold"},
       "population = 4294967296 (command line): with this fitness and noise-rank a sum of squares "
       "may "
       "need more than 64 bits; take a smaller one"},
      {{"--data", "x", "--fitness-encoding", "ternary"},
       "fitness-encoding = ternary (command line): ternary is allowed with fitness = sign only"},
      {{"--data", "x", "--step", "sharded", "--survive"},
       "step = sharded (command line): sharded is not allowed with survive = true and update = "
       "sigma-delta: what a lost rank has gathered for its shard would be lost with it"},
  };
  for (const auto& [arguments, expected] : cases)
    EXPECT_EQ(validation_refusal(arguments), expected);
}

TEST(ConfigErrors, AcceptsWhatFitsTogether) {
  for (const Arguments& arguments : std::vector<Arguments>{
           {"--data", "x"},
           {"--resume", "run"},
           {"--data", "x", "--auto-resume", "--init", "seed.h5"},
           {"--data", "x", "--fitness-encoding", "ternary", "--fitness", "sign"},
           {"--data", "x", "--population", "10", "--group-size", "10"},
           {"--data", "x", "--step", "sharded"},
           {"--data", "x", "--step", "sharded", "--survive", "--update", "threshold"},
           {"--data", "x", "--population", "4294967296"},
           {"--data", "x", "--fitness", "group", "--group-size", "16", "--update", "threshold"},
           {"--data", "x", "--carry", "reset", "--schedule", "dynamic"}})
    EXPECT_EQ(validation_refusal(arguments), "no error");
}

// c / sqrt(alpha) * 256 * 2 sqrt(noise rank * pairs) against 2^30: 32 * 1000 * 512 * 64 fits.
TEST(ConfigErrors, BoundsTheThresholdThatAnAccumulatorHolds) {
  const auto words = [](const Arguments& more) {
    Arguments arguments = {"--data", "x", "--alpha", "0.000001", "--threshold-factor", "32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return validation_refusal(arguments);
  };
  const std::string start =
      "threshold-factor = 32 (command line): with this population, noise-rank and alpha the "
      "threshold grows to ";
  const std::string end = ", allowed is up to 2^30; take a smaller factor";
  EXPECT_EQ(words({"--population", "8192"}), "no error");
  EXPECT_EQ(words({"--population", "16384"}), start + "1.48e+09" + end);
  EXPECT_EQ(words({"--population", "8192", "--noise-rank", "4"}), start + "2.1e+09" + end);
  EXPECT_EQ(words({"--population", "16384", "--fitness", "sign"}), "no error");
  // alpha falls to 1 / (15 t / decay + 1) by the last generation.
  const Arguments falling = {"--population",  "16384", "--alpha",      "4",
                             "--alpha-decay", "0.015", "--generations"};
  const auto after = [&](const std::string& generations) {
    Arguments arguments = falling;
    arguments.push_back(generations);
    arguments.insert(arguments.begin(), {"--data", "x", "--threshold-factor", "32"});
    return validation_refusal(arguments);
  };
  EXPECT_EQ(after("500"), "no error");
  EXPECT_EQ(after("1001"), start + "1.48e+09" + end);
}

TEST(ConfigErrors, ValidationSeesRangesOfAConfigMadeInCode) {
  const auto words = [](auto change) {
    RunConfig config = default_config(option_catalogue());
    config.of_task["data"] = "x";
    change(config);
    return refusal([&] { validate_config(config, option_catalogue()); });
  };
  EXPECT_EQ(words([](RunConfig&) {}), "no error");
  EXPECT_EQ(words([](RunConfig& c) { c.population = 7; }),
            "population = 7: allowed are even numbers from 2 to 4294967296");
  EXPECT_EQ(words([](RunConfig& c) { c.of_update["alpha"] = "nan"; }),
            "alpha = nan: allowed are numbers from 1e-06 to 16");
  EXPECT_EQ(words([](RunConfig& c) { c.group_size = 0; }),
            "group-size = 0: allowed are even numbers from 2 that divide the population");
  EXPECT_EQ(words([](RunConfig& c) { c.task = "chess"; }).find("task = chess: allowed "), 0u);
}

}  // namespace
}  // namespace eggroll
