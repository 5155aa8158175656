// What a run goes on with.
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

ParsedConfig resume_with(Arguments arguments) {
  arguments.insert(arguments.end(), {"--resume", "old/run"});
  return parse_train_config(arguments, test::toy_catalogue());
}

RunConfig resumed(const RunConfig& saved, const ParsedConfig& given) {
  return config_for_resume(saved, given, test::toy_catalogue());
}

TEST(ConfigResume, AResumedRunKeepsItsOwnOptions) {
  RunConfig saved = unusual_config();
  saved.sampling = Sampling::antithetic;
  const RunConfig config = resumed(saved, resume_with({}));
  saved.resume = "old/run";
  EXPECT_EQ(config, saved);
  EXPECT_EQ(refusal([&] { validate_config(config, catalogue()); }), "no error");
}

TEST(ConfigResume, AResumedRunTakesWhatCannotChangeItsResults) {
  const RunConfig config = resumed(
      unusual_config(),
      resume_with(words("--generations 7 --threads 8 --device auto --all-reduce nccl --step "
                        "replicated --run new --data moved --silence-limit 30 --validate-every 1 "
                        "--checkpoint-every 2 --digest-every 3 --checkpoint-seconds 77 "
                        "--keep-checkpoints 4 --on-storage-failure continue --fitness-encoding "
                        "int32 --dry-run")));
  RunConfig expected = unusual_config();
  expected.resume = "old/run";
  expected.generations = 7;
  expected.threads = 8;
  expected.device = DeviceChoice::automatic;
  expected.all_reduce = AllReduce::nccl;
  expected.step = StepMode::replicated;
  expected.run = "new";
  expected.of_task["data"] = "moved";
  expected.silence_limit = 30;
  expected.validate_every = 1;
  expected.checkpoint_every = 2;
  expected.digest_every = 3;
  expected.checkpoint_seconds = 77;
  expected.keep_checkpoints = 4;
  expected.on_storage_failure = OnStorageFailure::go_on;
  expected.fitness_encoding = FitnessEncoding::int32;
  expected.dry_run = true;
  // As planned when the run began.
  expected.of_update["alpha-decay"] = number_text(42 / 100.0 * 4294967294.0);
  EXPECT_EQ(config, expected);
}

TEST(ConfigResume, AResumedRunOfOtherGenerationsKeepsEverySpanWhereItWas) {
  const RunConfig saved =
      parse_train_config(words("--task toy --generations 200 --sigma-schedule "
                               "linear --sigma-over 30% --learning-rate-over 50"),
                         test::toy_catalogue())
          .config;
  const RunConfig config = resumed(saved, resume_with({"--generations", "1000"}));
  EXPECT_EQ(config.of_task.at("sigma-over"), "60");
  EXPECT_EQ(config.of_update.at("learning-rate-over"), "50");
  const auto before = read_settings<test::ToySettings>(saved.of_task).of_floats.sigma;
  const auto after = read_settings<test::ToySettings>(config.of_task).of_floats.sigma;
  for (const uint64_t g : {0, 30, 60, 199}) EXPECT_EQ(before.at(g, 200), after.at(g, 1000));
  EXPECT_EQ(resumed(saved, resume_with({"--generations", "200"})).of_task.at("sigma-over"), "30%");
}

// The command line alone does not say whose options its are: the run does.
TEST(ConfigResume, AResumedRunOfAnotherTaskKnowsItsOptions) {
  const RunConfig saved = default_config(test::toy_catalogue(), "toy");
  EXPECT_EQ(resumed(saved, resume_with(words("--dimension 8 --beta1 0.9 --threads 2"))).threads, 2);
  EXPECT_EQ(refusal([&] {
              resumed(saved, resume_with({"--dimension", "9"}));
            })
                .find("dimension = 9 (command line): the run to resume has 8; what may change is "
                      "generations, fitness-encoding, "),
            0u);
  EXPECT_EQ(refusal([&] {
              resumed(saved, resume_with({"--dimension", "0"}));
            }),
            "dimension = 0 (command line): allowed are whole numbers from 1 to 1000");
  EXPECT_EQ(refusal([&] {
              resumed(saved, resume_with({"--data", "x"}));
            }),
            "data (command line): an option of task lm; task = toy has none of that name");
  EXPECT_EQ(refusal([&] {
              resumed(saved, resume_with({"--data", "x", "--task", "lm"}));
            }).find("task = lm (command line): the run to resume has toy; what may change is "),
            0u);
  EXPECT_EQ(refusal([&] {
              resume_with({"--datum", "x"});
            }),
            "datum (command line): there is no such option; is data meant?");
}

TEST(ConfigResume, AResumedRunRefusesEveryOtherChange) {
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
  RunOptions own(catalogue(), saved), usual(catalogue(), standard());
  for (const Option* row : own.rows()) {
    EXPECT_EQ(row->may_change_on_resume, may_change.contains(row->name)) << row->name;
    if (row->may_change_on_resume || !row->is_of_run) continue;
    ParsedConfig given;
    given.settings = {{row->name, row->text(), "x.ini line 1", true}};
    EXPECT_EQ(refusal([&] { resumed(saved, given); }), "no error") << row->name;
    std::string other = usual.find(row->name)->text();
    if (row->name == "init") other = "other.h5";
    if (row->name == "task") other = "toy";
    if (row->name == "update") other = "threshold";
    given.settings[0].value = other;
    const std::string words = refusal([&] { resumed(saved, given); });
    EXPECT_EQ(words.find(row->name + " = " + other + " (x.ini line 1): the run to resume has " +
                         row->text()),
              0u)
        << words;
  }
  EXPECT_EQ(
      refusal([] {
        resumed(standard(), resume_with({"--seed", "2"}));
      }),
      "seed = 2 (command line): the run to resume has 1; what may change is data, "
      "generations, fitness-encoding, device, all-reduce, step, threads, schedule, "
      "straggler-limit, silence-limit, run, validate-every, "
      "checkpoint-every, checkpoint-seconds, keep-checkpoints, on-storage-failure, digest-every");
}

// The file's value is overruled, as it is when a run begins.
TEST(ConfigResume, AResumedRunComparesWhatWinsOnly) {
  const test::ScratchFolder folder;
  const std::string file = folder.write("x.ini", "seed = 5\n").string();
  EXPECT_EQ(resumed(standard(), resume_with({"--config", file, "--seed", "1"})).seed, 1u);
}

}  // namespace
}  // namespace eggroll
