// What `eggroll train --help` shows.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "common/config.hpp"
#include "common/config_options.hpp"
#include "tests/support/run_configs.hpp"

namespace eggroll {
namespace {

using namespace std::string_literals;
using namespace test;

std::set<std::string> options_in(const std::string& help) {
  std::set<std::string> seen;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
    if (line.starts_with("  --")) seen.insert(line.substr(4, line.find(' ', 4) - 4));
  }
  return seen;
}

TEST(ConfigHelp, HelpIsADozenGeneralOptionsAndTheTasks) {
  EXPECT_FALSE(train_help({"--seed", "1"}, catalogue()));
  const std::string help =
      *train_help({"--seed", "x", "--help", "--config", "missing"}, catalogue());
  EXPECT_EQ(options_in(help),
            (std::set<std::string>{"task", "population", "generations", "seed", "noise-rank",
                                   "fitness", "update", "resume", "device", "threads", "dry-run",
                                   "run", "config", "help"}));
  EXPECT_NE(help.find("\n\nHow is it trained?\n"), std::string::npos) << help;
  EXPECT_NE(help.find("--population N (=1024)"), std::string::npos);
  for (const OptionChapter& task : catalogue().tasks)
    EXPECT_NE(help.find("  " + task.name), std::string::npos);
  EXPECT_NE(help.find("\n  adamw "), std::string::npos);
}

TEST(ConfigHelp, HelpOfATaskAddsItsOptionsAndThoseOfItsOptimiser) {
  const std::set<std::string> few = options_in(*train_help({"--help"}, test::toy_catalogue()));
  const auto more = [&](const Arguments& arguments) {
    std::set<std::string> names = options_in(*train_help(arguments, test::toy_catalogue()));
    for (const std::string& name : few) EXPECT_EQ(names.erase(name), 1u) << name;
    return names;
  };
  const auto keys = [](const RunConfig& config) {
    std::set<std::string> names;
    for (const OptionTexts* texts : {&config.of_task, &config.of_update})
      for (const auto& [name, value] : *texts) names.insert(name);
    return names;
  };
  const OptionCatalogue& toys = test::toy_catalogue();
  EXPECT_EQ(more({"--task", "toy", "--help"}), keys(default_config(toys, "toy")));
  EXPECT_EQ(more({"--help", "--task=toy", "--update=sgd"}),
            keys(default_config(toys, "toy", "sgd")));
  EXPECT_EQ(more({"--help", "--task=lm"}), keys(default_config(toys)));
  const std::string help = *train_help({"--task", "toy", "--help"}, toys);
  EXPECT_NE(help.find("--population N (=64)"), std::string::npos) << help;
  EXPECT_NE(help.find("--learning-rate X (=0.05)"), std::string::npos) << help;
  EXPECT_EQ(refusal([&] {
              train_help({"--help", "--task", "chess"}, toys);
            }),
            "task = chess: allowed are " + names_of(toys.tasks));
}

TEST(ConfigHelp, HelpAllNamesEachOptionUnderItsQuestion) {
  const std::string help = *train_help({"--help", "all"}, test::toy_catalogue());
  EXPECT_EQ(*train_help({"--help=all"}, test::toy_catalogue()), help);
  std::set<std::string> expected;
  const AllOptions all(test::toy_catalogue());
  for (const Option* row : all.rows()) expected.insert(row->name);
  EXPECT_EQ(options_in(help), expected);
  for (const OptionGroup group : kOptionGroups) {
    const bool is_the_tasks = group == OptionGroup::model;
    EXPECT_EQ(help.find("\n\n"s + question_of(group) + "\n") == std::string::npos, is_the_tasks);
  }
  for (const char* title : {"--task lm: ", "--task toy: ", "--update adamw: "})
    EXPECT_NE(help.find("\n\n"s + title), std::string::npos) << title;
}

// docs/usage.md holds the text between two lines: to renew it, put the output of
// `build/eggroll train --help all` there.
TEST(ConfigHelp, TheDocumentedOptionsAreThoseOfTheHelp) {
  std::ifstream usage(EGGROLL_USAGE);
  std::istringstream help(*train_help({"--help=all"}, catalogue()));
  std::string documented, line;
  while (std::getline(usage, documented) && documented != "<!-- eggroll train --help all -->") {
  }
  ASSERT_TRUE(std::getline(usage, documented)) << "no place for the options in " EGGROLL_USAGE;
  while (std::getline(help, line)) {
    ASSERT_TRUE(std::getline(usage, documented));
    ASSERT_EQ(documented, line);
  }
  ASSERT_TRUE(std::getline(usage, documented));
  EXPECT_EQ(documented, "```");
}

}  // namespace
}  // namespace eggroll
