// What the program has done so far it still does: parameters of several configurations, the fields
// that others read, and a checkpoint that an earlier version wrote. A digest here is changed only
// together with the meaning of a configuration, and the change log says so.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

using Keys = std::vector<std::string>;

Keys keys_of(const nlohmann::ordered_json& object) {
  Keys keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

// The first in the order of the second, where they are in it.
Keys among(const Keys& wanted, const Keys& keys) {
  Keys found;
  std::ranges::copy_if(keys, std::back_inserter(found), [&](const std::string& key) {
    return std::ranges::find(wanted, key) != wanted.end();
  });
  return found;
}

Keys first_of(Keys keys, size_t count) {
  keys.resize(std::min(count, keys.size()));
  return keys;
}

class Golden : public testing::Test {
 protected:
  std::filesystem::path run() const { return folder_ / "run"; }
  std::string train(const std::string& options) const {
    return "train --data " + folder_.write("text", generated_text(30000)).string() + " --run " +
           run().string() + " --validate-every 0 --digest-every 5 " + options;
  }
  // In a folder of its own, as the run that wrote it would have left it.
  std::string checkpoint_of_format_1(const std::string& name) const {
    const std::filesystem::path file = folder_.write(name + "/checkpoint-000000005.h5", "");
    expect_success("gzip -dc " EGGROLL_GOLDEN "/checkpoint-000000005.h5.gz >" +
                   quoted(file.string()));
    return (folder_ / name).string();
  }

  ScratchFolder folder_;
};

// Most read past the end of their part of the text and begin it again.
TEST_F(Golden, ConfigurationsTrainTheParametersTheyAlwaysTrained) {
  const std::string small = " --layers 1 --width 64 --generations 20 ";
  const struct {
    int ranks;
    std::string options;
    const char* digest;
  } known[] = {
      {1,
       small + "--population 144 --tokens-per-update 24 --update sigma-delta --fitness levels"
               " --carry pair",
       "04beec9143952fa4"},
      {1,
       small + "--population 160 --tokens-per-update 24 --update threshold --fitness sign"
               " --fitness-encoding ternary --carry own --alpha-decay 5 --seed 2 --threads 2",
       "4dd8e5d84a06ad50"},
      {2,
       small + "--population 192 --tokens-per-update 20 --noise-rank 4 --sigma-shift 3"
               " --perturbation-rounding floor --carry reset --schedule dynamic --seed 3",
       "3d8f92c398fc3e93"},
      {1,
       small + "--population 128 --tokens-per-update 30 --noise-rank 16 --noise-reuse 0"
               " --threshold-factor 1.5 --alpha 0.5 --seed 4",
       "179dc3bb7d5ecbee"},
      {3,
       "--layers 2 --width 256 --generations 6 --population 96 --group-size 4"
       " --tokens-per-update 10 --step sharded --seed 18446744073709551615",
       "a3fa8eed2b7ff419"},
      {2,
       small + "--population 104 --tokens-per-update 40 --update threshold --alpha 6"
               " --alpha-decay 40% --noise-reuse 3 --held-out 0.2 --seed 6",
       "08acab56b05e3998"},
  };
  for (const auto& [ranks, options, digest] : known) {
    std::filesystem::remove_all(run());
    expect_success(ranks == 1 ? eggroll(train(options)) : mpirun(ranks, train(options)));
    EXPECT_EQ(digest_of(run()), digest) << ranks << " ranks, " << options;
  }
}

TEST_F(Golden, RecordsOfMetricsHaveTheFieldsTheyAlwaysHadInTheirOrder) {
  expect_success(
      eggroll(train("--layers 1 --width 64 --population 144 --tokens-per-update 24"
                    " --generations 9 --checkpoint-every 0")));
  const Keys always = {"generation",
                       "elapsed_s",
                       "generation_s",
                       "train_integer_bits_per_byte",
                       "changed_parameters",
                       "changed_share",
                       "ties",
                       "active_pairs",
                       "sum_squares",
                       "alpha",
                       "matrix_threshold",
                       "evaluate_s",
                       "slowest_evaluate_s",
                       "usual_tile_s",
                       "slowest_tile_s",
                       "slowest_rank",
                       "tiles_given_again",
                       "gather_s",
                       "shape_s",
                       "scatter_s",
                       "update_s",
                       "all_reduce_s",
                       "step_s",
                       "checkpoint_s",
                       "ranks",
                       "guard_s",
                       "members_per_s",
                       "tokens_per_s",
                       "bytes_sent",
                       "sums_travel_wide"};
  // Of the last one: the run ends when its checkpoint is on the disk.
  const Keys at_the_end = {"checkpoints_written", "validation_bits_per_byte",
                           "validation_integer_bits_per_byte", "validation_s"};
  std::vector<nlohmann::ordered_json> records;
  std::istringstream lines(read_text(run() / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);)
    records.push_back(nlohmann::ordered_json::parse(line, nullptr, /*allow_exceptions=*/false));
  ASSERT_EQ(records.size(), 9u);
  for (const nlohmann::ordered_json& record : records) {
    const Keys keys = keys_of(record);
    EXPECT_EQ(first_of(keys, always.size()), always) << record;
    EXPECT_EQ(among(at_the_end, keys), &record == &records.back() ? at_the_end : Keys{}) << record;
  }
  const nlohmann::ordered_json& last = records.back();
  ASSERT_EQ(last.value("checkpoints_written", nlohmann::ordered_json::array()).size(), 1u) << last;
  EXPECT_EQ(keys_of(last["checkpoints_written"][0]), (Keys{"generation", "write_s", "bytes"}));

  // What is said of the same generation was always the same, too.
  EXPECT_EQ(last.value("generation", 0), 9);
  EXPECT_DOUBLE_EQ(last.value("train_integer_bits_per_byte", 0.0), 7.942491319444445);
  EXPECT_EQ(last.value("changed_parameters", 0), 11331);
  EXPECT_EQ(last.value("ties", -1), 1);
  EXPECT_EQ(last.value("active_pairs", 0), 51);
  EXPECT_EQ(last.value("sum_squares", 0), 102);
  EXPECT_EQ(last.value("matrix_threshold", 0), 5471);
  EXPECT_DOUBLE_EQ(last.value("validation_bits_per_byte", 0.0), 7.871097871102393);
  EXPECT_DOUBLE_EQ(last.value("validation_integer_bits_per_byte", 0.0), 7.839504076086956);
}

TEST_F(Golden, InspectSaysInJsonWhatItAlwaysSaid) {
  const std::string output =
      expect_success(eggroll("inspect --json --checkpoint " + checkpoint_of_format_1("old")));
  const auto json = nlohmann::ordered_json::parse(output, nullptr, /*allow_exceptions=*/false);
  const Keys known = {"generation",        "seed",       "noise_law",
                      "parameters_digest", "parameters", "state_slots",
                      "complete",          "config",     "tensors"};
  ASSERT_EQ(among(known, keys_of(json)), known) << output;
  EXPECT_EQ(json.value("generation", 0), 5);
  EXPECT_EQ(json.value("seed", 0), 3);
  EXPECT_EQ(json.value("noise_law", ""), "philox10_two_table_v1");
  EXPECT_EQ(json.value("parameters_digest", ""), "338806d9153a194e");
  EXPECT_EQ(json.value("parameters", 0), 82240);
  EXPECT_EQ(json.value("state_slots", 0), 20);
  EXPECT_TRUE(json.value("complete", false));
  ASSERT_EQ(json["tensors"].size(), 13u);
  EXPECT_EQ(json["tensors"][0].dump(), R"({"name":"emb","shape":[256,64]})");
}

// Written by commit 67987c3: `train --data text --run run --layers 1 --width 64 --population 40
// --tokens-per-update 16 --generations 20 --checkpoint-every 5 --threshold-factor 0.2 --threads 1
// --seed 3`, where `text` is generated_text(1400). The same run without a stop had the digest below.
TEST_F(Golden, ACheckpointOfFormat1GoesOnToTheParametersOfARunWithoutAStop) {
  const std::string text = folder_.write("text", generated_text(1400)).string();
  for (const int ranks : {1, 2}) {
    const std::string old = checkpoint_of_format_1("old-" + std::to_string(ranks));
    EXPECT_EQ(digest_of(old), "338806d9153a194e");
    const std::string resume = "train --threads 1 --resume " + old + " --data " + text;
    const std::string output = expect_success(ranks == 1 ? eggroll(resume) : mpirun(ranks, resume));
    EXPECT_NE(output.find("resumed after generation 5"), std::string::npos) << output;
    EXPECT_EQ(inspect(old).value("generation", 0), 20);
    EXPECT_EQ(digest_of(old), "06ffb8121aa63c69") << ranks << " ranks";
  }
}

}  // namespace
}  // namespace eggroll::test
