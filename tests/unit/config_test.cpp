#include "common/config.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "common/config_options.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

using namespace std::string_literals;
using Arguments = std::vector<std::string>;

// The words of the ConfigError that `work` ends in.
template <typename Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const ConfigError& error) {
    return error.what();
  } catch (const std::exception& error) {
    return "not a ConfigError: "s + error.what();
  }
  return "no error";
}

// Every field other than its default.
RunConfig unusual_config() {
  RunConfig c;
  c.data = "/texts/a b";
  c.run = "runs/1";
  c.init = "seed.h5";
  c.held_out = 0.1;
  c.layers = 2;
  c.width = 64;
  c.seed = 18446744073709551615u;
  c.generations = 4294967294u;
  c.population = 4294967296u;
  c.group_size = 32;
  c.tokens_per_update = 65536;
  c.noise_rank = 16;
  c.noise_reuse = 0;
  c.sigma_shift = 8;
  c.perturbation_rounding = Rounding::floor;
  c.carry = Carry::own;
  c.fitness = FitnessRule::sign;
  c.fitness_encoding = FitnessEncoding::ternary;
  c.update = UpdateRule::threshold;
  c.threshold_factor = 1.0 / 3;
  c.alpha = 0.2;
  c.alpha_decay = {42, true};
  c.device = DeviceChoice::cpu;
  c.all_reduce = AllReduce::mpi;
  c.step = StepMode::sharded;
  c.threads = 3;
  c.schedule = TileSchedule::fixed;
  c.straggler_limit = 1.5;
  c.silence_limit = 2.5;
  c.validate_every = 0;
  c.validate_streams = 7;
  c.checkpoint_every = 18446744073709551615u;
  c.checkpoint_seconds = 4294967295u;
  c.keep_checkpoints = 1;
  c.on_storage_failure = OnStorageFailure::stop;
  c.digest_every = 5;
  return c;
}

std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST(Config, DefaultsHoldWhereNothingIsGiven) {
  const ParsedConfig parsed = parse_train_config({});
  EXPECT_EQ(parsed.config, RunConfig{});
  EXPECT_TRUE(parsed.given.empty());
  EXPECT_FALSE(parsed.help);
}

TEST(Config, TheCommandLineSetsEveryOption) {
  RunConfig expected = unusual_config();
  expected.dry_run = true;
  expected.survive = true;
  expected.init.clear();
  expected.resume = "old";
  std::vector<std::string> arguments = words(
      "--task=lm --run runs/1 --resume old --held-out 0.1 --layers 2 --width 64 --seed "
      "18446744073709551615 --generations 4294967294 --population=4294967296 --group-size "
      "32 --tokens-per-update 65536 --noise-rank 16 --noise-reuse 0 --sigma-shift 8 "
      "--perturbation-rounding floor --carry own --fitness sign --fitness-encoding ternary "
      "--update threshold --threshold-factor 0.3333333333333333 --alpha 2e-1 --alpha-decay "
      "42% --device cpu --all-reduce mpi --step sharded --threads 3 --survive --schedule static "
      "--straggler-limit "
      "1.5 "
      "--silence-limit 2.5 --validate-every 0 --validate-streams 7 --checkpoint-every "
      "18446744073709551615 --checkpoint-seconds 4294967295 --keep-checkpoints 1 "
      "--on-storage-failure stop --digest-every 5 --dry-run");
  arguments.insert(arguments.end(), {"--data", "/texts/a b"});
  const ParsedConfig parsed = parse_train_config(arguments);
  EXPECT_EQ(parsed.config, expected);
  EXPECT_EQ(parsed.given.size(), run_options().size() - 2);  // all but init and auto-resume
  EXPECT_EQ(parsed.given.at("seed"), "command line");
  EXPECT_EQ(parse_train_config({"--init", "seed.h5"}).config.init, "seed.h5");
  EXPECT_TRUE(parse_train_config({"--auto-resume"}).config.auto_resume);
}

TEST(Config, ChoicesHaveTheNamesOfTheDocuments) {
  for (const auto& [text, value] :
       {std::pair{"own", Carry::own}, {"pair", Carry::pair}, {"reset", Carry::reset}})
    EXPECT_EQ(parse_train_config({"--carry", text}).config.carry, value);
  for (const auto& [text, value] :
       {std::pair{"threshold", UpdateRule::threshold}, {"sigma-delta", UpdateRule::sigma_delta}})
    EXPECT_EQ(parse_train_config({"--update", text}).config.update, value);
  for (const auto& [text, value] :
       {std::pair{"sign", FitnessRule::sign}, {"levels", FitnessRule::levels}})
    EXPECT_EQ(parse_train_config({"--fitness", text}).config.fitness, value);
  for (const auto& [text, value] :
       {std::pair{"int32", FitnessEncoding::int32}, {"ternary", FitnessEncoding::ternary}})
    EXPECT_EQ(parse_train_config({"--fitness-encoding", text}).config.fitness_encoding, value);
  for (const auto& [text, value] : {std::pair{"auto", TileSchedule::automatic},
                                    {"static", TileSchedule::fixed},
                                    {"dynamic", TileSchedule::dynamic}})
    EXPECT_EQ(parse_train_config({"--schedule", text}).config.schedule, value);
  for (const auto& [text, value] :
       {std::pair{"nearest", Rounding::nearest}, {"floor", Rounding::floor}})
    EXPECT_EQ(parse_train_config({"--perturbation-rounding", text}).config.perturbation_rounding,
              value);
}

TEST(Config, AScheduleIsGenerationsOrAShareOfThem) {
  const RunConfig generations = parse_train_config({"--alpha-decay", "250.5"}).config;
  EXPECT_EQ(generations.alpha_decay, (Schedule{250.5, false}));
  EXPECT_EQ(generations.alpha_decay.generations(4000), 250.5);
  const RunConfig share = parse_train_config({"--alpha-decay", "42%"}).config;
  EXPECT_EQ(share.alpha_decay, (Schedule{42, true}));
  EXPECT_DOUBLE_EQ(share.alpha_decay.generations(4000), 1680);
}

TEST(Config, TheCommandLineWinsOverTheFile) {
  const test::ScratchFolder folder;
  const std::string file = folder
                               .write("x.ini",
                                      "# a comment\n\n  seed = 5 # another\r\n"
                                      "data=corpus#1.txt\n\trun = \" a \\\"b\\\" \\\\ #\" # c\n"
                                      "width = 64")
                               .string();
  const ParsedConfig parsed = parse_train_config({"--seed", "6", "--config", file});
  RunConfig expected;
  expected.seed = 6;
  expected.data = "corpus#1.txt";
  expected.run = " a \"b\" \\ #";
  expected.width = 64;
  EXPECT_EQ(parsed.config, expected);
  EXPECT_EQ(parsed.given, (OptionSources{{"seed", "command line"},
                                         {"data", file + " line 4"},
                                         {"run", file + " line 5"},
                                         {"width", file + " line 6"}}));
  EXPECT_EQ(parse_train_config({"--config", file}).config.seed, 5u);
  EXPECT_EQ(parse_train_config({"--config", folder.write("empty.ini", "").string()}).config,
            RunConfig{});
}

TEST(Config, HelpIsAskedForBesideAnythingElse) {
  const ParsedConfig parsed = parse_train_config({"--seed", "x", "--help", "--config", "missing"});
  EXPECT_TRUE(parsed.help);
  EXPECT_EQ(parsed.config, RunConfig{});
}

TEST(Config, HelpNamesEachOptionUnderItsQuestion) {
  const std::string help = train_help();
  std::set<std::string> seen;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
    if (line.starts_with("  --")) seen.insert(line.substr(4, line.find(' ', 4) - 4));
  }
  std::set<std::string> expected = {"config", "help"};
  for (const RunOption& option : run_options()) expected.insert(option.name);
  EXPECT_EQ(seen, expected);
  for (OptionGroup group : kOptionGroups)
    EXPECT_NE(help.find("\n\n"s + question_of(group) + "\n"), std::string::npos);
  EXPECT_NE(help.find("--population N (=1024)"), std::string::npos);
}

TEST(Config, WhatIsWrittenReadsBackTheSame) {
  EXPECT_EQ(parse_config_text(write_config(RunConfig{}), "x.ini"), RunConfig{});
  const RunConfig unusual = unusual_config();
  EXPECT_EQ(parse_config_text(write_config(unusual), "x.ini"), unusual);
  // The unusual config leaves no option out, or an option could be missing in the text unnoticed.
  for (const RunOption& option : run_options()) {
    const bool has_one_value = option.name == "task";
    if (!option.is_of_run || has_one_value) continue;
    EXPECT_FALSE(same_value(unusual, RunConfig{}, option)) << option.name;
  }
}

TEST(Config, EveryDoubleAndEveryPathReadsBackTheSame) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> factor(0.01, 64), share(0, 0.5), decay(0.001, 1e6);
  const std::string letters = "a #\"\\=[]'%/.~ \xC3\xA4";
  for (int i = 0; i < 500; ++i) {
    RunConfig config;
    config.threshold_factor = factor(random);
    config.held_out = share(random);
    config.alpha_decay = {decay(random), i % 2 == 0};
    for (uint64_t length = 1 + random() % 12; length > 0; --length) {
      config.data += letters[random() % letters.size()];
      config.run += letters[random() % letters.size()];
    }
    EXPECT_EQ(parse_config_text(write_config(config), "x.ini"), config) << write_config(config);
  }
}

TEST(Config, WrittenTextIsGroupedCommentedAndShort) {
  const std::string text = write_config(unusual_config());
  EXPECT_NE(text.find("\n# How big is the model?\n\n# layers of the network\nlayers = 2\n"),
            std::string::npos);
  EXPECT_NE(text.find("\nalpha = 0.2\n"), std::string::npos);
  EXPECT_NE(text.find("\nalpha-decay = 42%\n"), std::string::npos);
  EXPECT_NE(text.find("\nthreshold-factor = 0.3333333333333333\n"), std::string::npos);
  EXPECT_NE(text.find("\nupdate = threshold\n"), std::string::npos);
  EXPECT_NE(write_config(RunConfig{}).find("\nthreads = 0\n"), std::string::npos);
  RunConfig invoked;
  invoked.resume = "run";
  invoked.dry_run = true;
  invoked.auto_resume = true;
  EXPECT_EQ(write_config(invoked), write_config(RunConfig{}));
}

TEST(Config, AConfigOfParametersOnlyNeedsNoMoreThanTheShape) {
  const RunConfig config = parse_config_text("layers = 1\nwidth = 64\n", "x.h5");
  EXPECT_EQ(config.shape(), (IntRnnShape{1, 64}));
}

ParsedConfig resume_with(Arguments arguments) {
  arguments.insert(arguments.end(), {"--resume", "old/run"});
  return parse_train_config(arguments);
}

TEST(Config, AResumedRunKeepsItsOwnOptions) {
  RunConfig saved = unusual_config();
  const RunConfig resumed = config_for_resume(saved, resume_with({}));
  saved.resume = "old/run";
  saved.run = "old/run";
  EXPECT_EQ(resumed, saved);
  EXPECT_EQ(refusal([&] { validate_config(resumed); }), "no error");
}

TEST(Config, AResumedRunTakesWhatCannotChangeItsResults) {
  const RunConfig resumed = config_for_resume(unusual_config(), resume_with({"--generations",
                                                                             "7",
                                                                             "--threads",
                                                                             "8",
                                                                             "--device",
                                                                             "auto",
                                                                             "--all-reduce",
                                                                             "nccl",
                                                                             "--step",
                                                                             "replicated",
                                                                             "--run",
                                                                             "new",
                                                                             "--data",
                                                                             "moved",
                                                                             "--silence-limit",
                                                                             "30",
                                                                             "--validate-every",
                                                                             "1",
                                                                             "--checkpoint-every",
                                                                             "2",
                                                                             "--digest-every",
                                                                             "3",
                                                                             "--checkpoint-seconds",
                                                                             "77",
                                                                             "--keep-checkpoints",
                                                                             "4",
                                                                             "--on-storage-failure",
                                                                             "continue",
                                                                             "--fitness-encoding",
                                                                             "int32",
                                                                             "--dry-run"}));
  RunConfig expected = unusual_config();
  expected.resume = "old/run";
  expected.generations = 7;
  expected.threads = 8;
  expected.device = DeviceChoice::automatic;
  expected.all_reduce = AllReduce::nccl;
  expected.step = StepMode::replicated;
  expected.run = "new";
  expected.data = "moved";
  expected.silence_limit = 30;
  expected.validate_every = 1;
  expected.checkpoint_every = 2;
  expected.digest_every = 3;
  expected.checkpoint_seconds = 77;
  expected.keep_checkpoints = 4;
  expected.on_storage_failure = OnStorageFailure::go_on;
  expected.fitness_encoding = FitnessEncoding::int32;
  expected.dry_run = true;
  expected.alpha_decay = {0.42 * 4294967294.0, false};  // as planned when the run began
  EXPECT_DOUBLE_EQ(resumed.alpha_decay.value, expected.alpha_decay.value);
  expected.alpha_decay.value = resumed.alpha_decay.value;
  EXPECT_EQ(resumed, expected);
}

TEST(Config, AResumedRunRefusesEveryOtherChange) {
  const std::set<std::string> may_change = {"data",
                                            "generations",
                                            "threads",
                                            "device",
                                            "all-reduce",
                                            "step",
                                            "schedule",
                                            "straggler-limit",
                                            "silence-limit",
                                            "run",
                                            "validate-every",
                                            "digest-every",
                                            "checkpoint-every",
                                            "checkpoint-seconds",
                                            "keep-checkpoints",
                                            "on-storage-failure",
                                            "fitness-encoding"};
  const RunConfig saved = unusual_config();
  for (const RunOption& option : run_options()) {
    EXPECT_EQ(option.may_change_on_resume, may_change.contains(option.name)) << option.name;
    if (option.may_change_on_resume || !option.is_of_run) continue;
    ParsedConfig given;
    given.config = saved;
    given.given[option.name] = "x.ini line 1";
    EXPECT_EQ(refusal([&] { config_for_resume(saved, given); }), "no error") << option.name;
    if (option.name == "task") continue;  // has one value only
    given.config = RunConfig{};
    if (option.name == "init") given.config.init = "other.h5";
    const std::string words = refusal([&] { config_for_resume(saved, given); });
    EXPECT_EQ(words.find(option.name + " = " + option_text(given.config, option) +
                         " (x.ini line 1): the run to resume has " + option_text(saved, option)),
              0u)
        << words;
  }
  EXPECT_EQ(
      refusal([] {
        config_for_resume(RunConfig{}, resume_with({"--seed", "2"}));
      }),
      "seed = 2 (command line): the run to resume has 1; what may change is data, "
      "generations, fitness-encoding, device, all-reduce, step, threads, schedule, "
      "straggler-limit, silence-limit, run, validate-every, "
      "checkpoint-every, checkpoint-seconds, keep-checkpoints, on-storage-failure, digest-every");
}

TEST(Config, AResumedRunGoesOnInTheFolderThatIsNamed) {
  const auto folder = [](const std::string& resume) {
    return config_for_resume(RunConfig{}, parse_train_config({"--resume", resume})).run;
  };
  EXPECT_EQ(folder("a/b"), "a/b");
  EXPECT_EQ(folder("a/b/checkpoint-000000001.h5"), "a/b");
  EXPECT_EQ(folder("checkpoint-000000001.h5"), ".");
}

}  // namespace
}  // namespace eggroll
