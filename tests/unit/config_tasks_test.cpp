// Options of tasks and optimisers beside each other.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "common/config.hpp"
#include "common/config_options.hpp"
#include "tests/support/run_configs.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

using namespace std::string_literals;
using namespace test;

TEST(ConfigTasks, ATaskBringsItsOwnDefaults) {
  const auto toy = [](Arguments arguments) {
    arguments.insert(arguments.end(), {"--task", "toy"});
    return parse_train_config(arguments, test::toy_catalogue()).config;
  };
  const RunConfig config = toy({});
  EXPECT_EQ(config.update, "adam");
  EXPECT_EQ(config.population, 64u);
  EXPECT_EQ(config.fitness, FitnessRule::centred_rank);
  EXPECT_EQ(config.of_update.at("learning-rate"), "0.05");
  EXPECT_EQ(config.of_update.at("beta2"), "0.999");
  EXPECT_EQ(config.of_task, (OptionTexts{{"dimension", "8"},
                                         {"noisy", "false"},
                                         {"sigma", "0.1"},
                                         {"sigma-schedule", "constant"},
                                         {"sigma-end", "0.1"},
                                         {"sigma-over", "100%"},
                                         {"perturbation", "low-rank"}}));
  // Options of the optimiser that is its default go no further than that.
  EXPECT_EQ(toy({"--update", "adam"}).of_update.at("learning-rate"), "0.05");
  EXPECT_EQ(toy({"--update", "sgd"}).of_update.at("learning-rate"), "0.1");
  EXPECT_EQ(toy({"--population", "8"}).population, 8u);
  EXPECT_EQ(toy({"--noisy"}).of_task.at("noisy"), "true");
  EXPECT_EQ(
      parse_config_text(write_config(config, test::toy_catalogue()), "x", test::toy_catalogue()),
      config);
}

// Names are unique in each run, and the same kind of thing wherever there are several.
TEST(ConfigTasks, NoTwoOptionsOfARunHaveOneName) {
  for (const OptionCatalogue* each : {&catalogue(), &test::toy_catalogue()})
    for (const OptionChapter& task : each->tasks)
      for (const OptionChapter& update : each->updates) {
        RunOptions run(*each, default_config(*each, task.name, update.name));
        std::set<std::string> names;
        for (const Option* row : run.rows())
          EXPECT_TRUE(names.insert(row->name).second) << row->name;
      }
  const AllOptions all(test::toy_catalogue());
  for (const Option* row : all.rows())
    for (const AllOptions::Chapter* chapter : all.chapters_with(row->name))
      EXPECT_EQ(chapter->options.find(row->name)->value_name.empty(), row->value_name.empty());
}

TEST(ConfigTasks, AnOptimiserFromTheCommandLineReplacesThatOfTheFileWithItsOptions) {
  const test::ScratchFolder folder;
  const std::string file = folder
                               .write("x.ini",
                                      "update = sigma-delta\nthreshold-factor = 1.5\nalpha = 3\n"
                                      "data = x\n")
                               .string();
  const RunConfig config = parsed({"--config", file, "--update", "threshold"});
  EXPECT_EQ(config.of_update, (OptionTexts{{"alpha", "3"}, {"alpha-decay", "1000"}}));
  EXPECT_EQ(parsed({"--config", file}).of_update.at("threshold-factor"), "1.5");
  // Also where the file leaves the optimiser to the default.
  const std::string toy = folder.write("toy.ini", "task = toy\nbeta1 = 0.5\n").string();
  EXPECT_EQ(parse_train_config({"--config", toy, "--update", "sgd"}, test::toy_catalogue())
                .config.of_update.size(),
            4u);
}

// As they were written when it was an option of every run.
TEST(ConfigTasks, ReadsFilesThatHoldTheThresholdFactorBesideAnyUpdate) {
  const std::string text = "update = threshold\nthreshold-factor = 2\nalpha = 3\n";
  const RunConfig config = parse_config_text(text, "x.ini", catalogue());
  EXPECT_EQ(config.update, "threshold");
  EXPECT_EQ(config.of_update, (OptionTexts{{"alpha", "3"}, {"alpha-decay", "1000"}}));
}

std::string toy_refusal(const Arguments& arguments) {
  return refusal([&] { parse_train_config(arguments, test::toy_catalogue()); });
}

std::string validation_refusal(const Arguments& arguments) {
  return refusal([&] {
    const ParsedConfig parsed = parse_train_config(arguments, option_catalogue());
    validate_config(parsed.config, option_catalogue(), parsed.given);
  });
}

TEST(ConfigTasks, NamesTheOneWhoseOptionItIs) {
  EXPECT_EQ(toy_refusal({"--task", "toy", "--layers", "2"}),
            "layers (command line): an option of task lm, task control; task = toy has none of "
            "that name");
  EXPECT_EQ(toy_refusal({"--dimension", "2"}),
            "dimension (command line): an option of task toy; task = lm has none of that name");
  EXPECT_EQ(
      toy_refusal({"--beta1", "0.5"}),
      "beta1 (command line): an option of update adam, update adamw; update = sigma-delta has "
      "none of that name");
  EXPECT_EQ(
      toy_refusal({"--task", "toy", "--alpha", "2"}),
      "alpha (command line): an option of update threshold, update sigma-delta; update = adam "
      "has none of that name");
  EXPECT_EQ(
      toy_refusal({"--update", "threshold", "--threshold-factor", "1"}),
      "threshold-factor (command line): an option of update sigma-delta; update = threshold has "
      "none of that name");
  const test::ScratchFolder folder;
  const std::string file = folder.write("x.ini", "layers = 2\n").string();
  EXPECT_EQ(toy_refusal({"--task", "toy", "--config", file}),
            "layers (" + file +
                " line 1): an option of task lm, task control; task = toy has none of that name");
  const std::string sigma = folder.write("y.ini", "update = sigma-delta\nbeta1 = 0.5\n").string();
  EXPECT_EQ(toy_refusal({"--config", sigma, "--update", "sigma-delta"}),
            "beta1 (" + sigma +
                " line 2): an option of update adam, update adamw; update = "
                "sigma-delta has none of that name");
  const std::string chess = folder.write("z.ini", "task = chess\n").string();
  EXPECT_EQ(toy_refusal({"--config", chess, "--task", "toy"}),
            "task = chess (" + chess + " line 1): allowed are lm, control, quadratic, toy");
  // Names are compared with those of all tasks and optimisers.
  EXPECT_EQ(toy_refusal({"--dimensoin", "2"}),
            "dimensoin (command line): there is no such option; is dimension meant?");
  EXPECT_EQ(toy_refusal({"--task", "toi"}),
            "task = toi (command line): allowed are " + names_of(toy_catalogue().tasks));
}

TEST(ConfigTasks, AnOptimiserMovesTheElementsOfItsTask) {
  for (const char* update : {"sgd", "momentum", "adam", "adamw"})
    EXPECT_EQ(validation_refusal({"--data", "x", "--update", update}),
              "update = "s + update +
                  " (command line): moves float32; the weights of task lm are int8; allowed are "
                  "threshold, sigma-delta");
}

// An element of a sum is at most population x 1562 x 63^2 x noise_rank.
TEST(ConfigTasks, BoundsTheSumsOfPerturbations) {
  const auto words = [](const char* population, const char* rank, const char* fitness) {
    OptionCatalogue catalogue = test::toy_catalogue();
    for (OptionChapter& update : catalogue.updates) update.check = nullptr;
    return refusal([&] {
      const ParsedConfig parsed =
          parse_train_config({"--task", "toy", "--population", population, "--noise-rank", rank,
                              "--fitness", fitness, "--update", "sgd"},
                             catalogue);
      validate_config(parsed.config, catalogue, parsed.given);
    });
  };
  EXPECT_EQ(words("4294967296", "346", "centred-rank"), "no error");
  EXPECT_EQ(
      words("4294967296", "347", "centred-rank"),
      "noise-rank = 347 (command line): with population = 4294967296 and fitness = "
      "centred-rank the sum of perturbations may need more than 64 bits; allowed are up to 346");
  EXPECT_EQ(words("4194304", "65536", "raw"), "no error");
  EXPECT_EQ(words("4294967296", "65536", "levels"), "no error");
}

}  // namespace
}  // namespace eggroll
