// What a configuration is made of, and its text.
#include "common/config.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/config_options.hpp"
#include "common/rule_names.hpp"
#include "kernels/optimizers.hpp"
#include "tests/support/run_configs.hpp"
#include "tests/support/scratch_folder.hpp"
#include "worker/lm/lm_settings.hpp"

namespace eggroll {
namespace {

using namespace std::string_literals;
using namespace test;

TEST(Config, DefaultsHoldWhereNothingIsGiven) {
  const ParsedConfig nothing = parse_train_config({}, catalogue());
  EXPECT_EQ(nothing.config, standard());
  EXPECT_TRUE(nothing.given.empty());
  RunConfig general = standard();
  EXPECT_EQ(general.of_task.size(), 9u);
  EXPECT_EQ(general.of_update,
            (OptionTexts{{"threshold-factor", "2"}, {"alpha", "4"}, {"alpha-decay", "1000"}}));
  general.of_task.clear();
  general.of_update.clear();
  EXPECT_EQ(general, RunConfig{});
}

TEST(Config, TheCommandLineSetsEveryOption) {
  RunConfig expected = unusual_config();
  expected.dry_run = true;
  expected.survive = true;
  expected.auto_resume = true;
  expected.max_seconds = 4294967295;
  std::vector<std::string> arguments = words(
      "--task=lm --run runs/1 --auto-resume --max-seconds 4294967295 --init seed.h5 --held-out 0.1 "
      "--layers 2 --width 64 "
      "--seed 18446744073709551615 --generations 4294967294 --population=4294967296 --group-size "
      "32 --sampling independent --tokens-per-update 65536 --noise-rank 16 --noise-reuse 0 "
      "--sigma-shift 8 --perturbation-rounding floor --carry own --fitness sign "
      "--fitness-encoding ternary --update sigma-delta --threshold-factor 0.3333333333333333 "
      "--alpha 2e-1 --alpha-decay 42% --device cpu --all-reduce mpi --step sharded --threads 3 "
      "--survive --schedule static --straggler-limit 1.5 --silence-limit 2.5 --validate-every 0 "
      "--validate-streams 7 --checkpoint-every 18446744073709551615 --checkpoint-seconds "
      "4294967295 --keep-checkpoints 1 --on-storage-failure stop --digest-every 5 --dry-run");
  arguments.insert(arguments.end(), {"--data", "/texts/a b"});
  const ParsedConfig all = parse_train_config(arguments, catalogue());
  EXPECT_EQ(all.config, expected);
  RunOptions rows(catalogue(), standard());
  EXPECT_EQ(all.given.size(), rows.rows().size() - 1);  // all but resume
  EXPECT_EQ(all.given.at("seed"), "command line");
  EXPECT_EQ(parsed({"--resume", "old"}).resume, "old");
  EXPECT_EQ(parsed({"--data=--x"}).of_task.at("data"), "--x");
}

TEST(Config, ChoicesHaveTheNamesOfTheDocuments) {
  const auto expect = [](const char* option, const auto& names, auto field) {
    for (size_t i = 0; i < names.size(); ++i) {
      const RunConfig config = parsed({"--"s + option, std::string(names[i])});
      EXPECT_EQ(static_cast<size_t>(field(config)), i) << option << ' ' << names[i];
    }
  };
  using Names = std::vector<std::string>;
  expect("carry", Names{"own", "pair", "reset"},
         [](const auto& c) { return lm_settings(c).carry; });
  expect("perturbation-rounding", Names{"nearest", "floor"},
         [](const auto& c) { return lm_settings(c).perturbation_rounding; });
  expect("sampling", Names{"antithetic", "independent"}, [](const auto& c) { return c.sampling; });
  expect("fitness", Names{"sign", "levels", "raw", "z-score", "centred-rank", "group"},
         [](const auto& c) { return c.fitness; });
  expect("fitness-encoding", Names{"int32", "ternary", "float32"},
         [](const auto& c) { return c.fitness_encoding; });
  expect("schedule", Names{"auto", "static", "dynamic"}, [](const auto& c) { return c.schedule; });
  expect("device", Names{"auto", "cpu", "cuda"}, [](const auto& c) { return c.device; });
  expect("all-reduce", Names{"auto", "mpi", "nccl"}, [](const auto& c) { return c.all_reduce; });
  expect("step", Names{"replicated", "sharded"}, [](const auto& c) { return c.step; });
  expect("on-storage-failure", Names{"continue", "stop"},
         [](const auto& c) { return c.on_storage_failure; });
  for (const char* update : {"threshold", "sigma-delta", "sgd", "momentum", "adam", "adamw"})
    EXPECT_EQ(parsed({"--update", update}).update, update);
}

TEST(Config, AScheduleIsGenerationsOrAShareOfThem) {
  const auto decay = [](const char* text) {
    return read_settings<ShareSettings>(parsed({"--alpha-decay", text}).of_update).alpha_decay;
  };
  EXPECT_EQ(decay("250.5"), (GenerationSpan{250.5, false}));
  EXPECT_EQ(decay("250.5").generations(4000), 250.5);
  EXPECT_EQ(decay("42%"), (GenerationSpan{42, true}));
  EXPECT_DOUBLE_EQ(decay("42%").generations(4000), 1680);
}

TEST(Config, TheCommandLineWinsOverTheFile) {
  const test::ScratchFolder folder;
  const std::string file = folder
                               .write("x.ini",
                                      "# a comment\n\n  seed = 5 # another\r\n"
                                      "data=corpus#1.txt\n\trun = \" a \\\"b\\\" \\\\ #\" # c\n"
                                      "width = 64")
                               .string();
  const ParsedConfig both = parse_train_config({"--seed", "6", "--config", file}, catalogue());
  RunConfig expected = standard();
  expected.seed = 6;
  expected.of_task["data"] = "corpus#1.txt";
  expected.run = " a \"b\" \\ #";
  expected.of_task["width"] = "64";
  EXPECT_EQ(both.config, expected);
  EXPECT_EQ(both.given, (OptionSources{{"seed", "command line"},
                                       {"data", file + " line 4"},
                                       {"run", file + " line 5"},
                                       {"width", file + " line 6"}}));
  EXPECT_EQ(parsed({"--config", file}).seed, 5u);
  EXPECT_EQ(parsed({"--config", folder.write("empty.ini", "").string()}), standard());
}

TEST(Config, TheByteOrderMarkOfAnEditorIsNoPartOfAName) {
  const test::ScratchFolder folder;
  const std::string mark = "\xEF\xBB\xBF";
  EXPECT_EQ(parsed({"--config", folder.write("x.ini", mark + "seed = 5\r\n").string()}).seed, 5u);
  EXPECT_EQ(parsed({"--config", folder.write("c.ini", mark + "# a comment").string()}), standard());
  EXPECT_EQ(parsed({"--config", folder.write("m.ini", mark).string()}), standard());
}

TEST(Config, WhatIsWrittenReadsBackTheSame) {
  EXPECT_EQ(read_back(standard()), standard());
  const RunConfig unusual = unusual_config();
  EXPECT_EQ(read_back(unusual), unusual);
  // The unusual config leaves no option out, or an option could be missing in the text unnoticed.
  RunOptions usual(catalogue(), standard()), other(catalogue(), unusual);
  for (const Option* row : usual.rows()) {
    if (!row->is_of_run || row->name == "task" || row->name == "update") continue;
    EXPECT_NE(row->text(), other.find(row->name)->text()) << row->name;
  }
}

TEST(Config, EveryDoubleAndEveryPathReadsBackTheSame) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> factor(0.01, 64), share(0, 0.5), decay(0.001, 1e6);
  const std::string letters = "a #\"\\=[]'%/.~ \xC3\xA4";
  for (int i = 0; i < 500; ++i) {
    RunConfig config = standard();
    SigmaDelta::Settings settings;
    settings.threshold_factor = factor(random);
    settings.alpha_decay = {decay(random), i % 2 == 0};
    Options rows;
    settings.declare(rows);
    config.of_update = rows.texts();
    config.of_task["held-out"] = number_text(share(random));
    for (uint64_t length = 1 + random() % 12; length > 0; --length) {
      config.of_task["data"] += letters[random() % letters.size()];
      config.run += letters[random() % letters.size()];
    }
    const RunConfig read = read_back(config);
    EXPECT_EQ(read, config) << write_config(config, catalogue());
    const auto again = read_settings<SigmaDelta::Settings>(read.of_update);
    EXPECT_EQ(again.threshold_factor, settings.threshold_factor);
    EXPECT_EQ(again.alpha_decay, settings.alpha_decay);
  }
}

TEST(Config, WrittenTextIsGroupedCommentedAndShort) {
  const std::string text = write_config(unusual_config(), catalogue());
  EXPECT_NE(text.find("\n# How big is the model?\n\n# layers of the network\nlayers = 2\n"),
            std::string::npos);
  EXPECT_NE(text.find("\nalpha = 0.2\n"), std::string::npos);
  EXPECT_NE(text.find("\nalpha-decay = 42%\n"), std::string::npos);
  EXPECT_NE(text.find("\nthreshold-factor = 0.3333333333333333\n"), std::string::npos);
  EXPECT_NE(text.find("\nupdate = sigma-delta\n"), std::string::npos);
  EXPECT_NE(write_config(standard(), catalogue()).find("\nthreads = 0\n"), std::string::npos);
  EXPECT_NE(write_config(standard(), catalogue()).find("\n# data =\n"), std::string::npos);
  RunConfig invoked = standard();
  invoked.resume = "run";
  invoked.dry_run = true;
  invoked.auto_resume = true;
  invoked.max_seconds = 60;
  invoked.survive = true;
  EXPECT_EQ(write_config(invoked, catalogue()), write_config(standard(), catalogue()));
}

TEST(Config, AConfigOfParametersOnlyNeedsNoMoreThanTheShape) {
  const RunConfig config = parse_config_text("layers = 1\nwidth = 64\n", "x.h5", catalogue());
  EXPECT_EQ(lm_settings(config).shape(), (IntRnnShape{1, 64}));
}

}  // namespace
}  // namespace eggroll
