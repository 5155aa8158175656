// Generations on many ranks are those of one rank, bit for bit.
#include "coordinator/generation.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/support/mpi_world.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/solo_collectives.hpp"

namespace eggroll {
namespace {

using test::mpi_world;
using test::SmallRun;
using test::SoloCollectives;

// Of the parameters and accumulators of small_config after five generations, on any machine. A
// change of the model, the noise, the data order or the update rule is a change of this number:
// then, and only then, copy the new one from the failure.
constexpr const char* kDigestOfFiveGenerations = "24154f13f2a6813f";

class Generation : public testing::Test {
 protected:
  Generation() : config_(test::small_config(folder_.write("text", test::generated_text(6000)))) {}

  std::string digest_on(Collectives& group, int threads = 1) const {
    SmallRun run(config_, group, threads);
    run.steps(5);
    return run.digest();
  }
  // Every rank also runs it alone.
  std::string expect_same_on_all_ranks(const std::string& what) const {
    SoloCollectives solo;
    const std::string alone = digest_on(solo);
    EXPECT_EQ(digest_on(mpi_world()), alone) << what;
    return alone;
  }

  test::ScratchFolder folder_;
  RunConfig config_;
};

TEST_F(Generation, HasOneResultOnAnyMachine) {
  EXPECT_EQ(digest_on(mpi_world()), kDigestOfFiveGenerations);
}

TEST_F(Generation, IsTheSameOnAnyNumberOfRanksAndThreads) {
  SoloCollectives solo;
  const std::string alone = digest_on(solo, 1);
  for (int threads : {1, 2, 3}) EXPECT_EQ(digest_on(mpi_world(), threads), alone) << threads;
}

TEST_F(Generation, IsTheSameOnAnyNumberOfRanksUnderEveryRule) {
  struct Variation {
    const char* name;
    std::function<void(RunConfig&)> apply;
  };
  const Variation variations[] = {
      {"carry own", [](RunConfig& c) { c.carry = Carry::own; }},
      {"carry reset", [](RunConfig& c) { c.carry = Carry::reset; }},
      {"fitness sign", [](RunConfig& c) { c.fitness = FitnessRule::sign; }},
      {"update threshold", [](RunConfig& c) { c.update = UpdateRule::threshold; }},
      {"noise rank 4", [](RunConfig& c) { c.noise_rank = 4; }},
      {"noise rank 16", [](RunConfig& c) { c.noise_rank = 16; }},
      {"rounding floor", [](RunConfig& c) { c.perturbation_rounding = Rounding::floor; }},
      {"sigma shift 2", [](RunConfig& c) { c.sigma_shift = 2; }},
      {"groups of 4", [](RunConfig& c) { c.group_size = 4; }},
      {"groups of 10", [](RunConfig& c) { c.group_size = 10; }},
      {"one group", [](RunConfig& c) { c.group_size = 80; }},
      {"noise for three generations", [](RunConfig& c) { c.noise_reuse = 3; }},
      {"noise for ever", [](RunConfig& c) { c.noise_reuse = 0; }},
      {"one token", [](RunConfig& c) { c.tokens_per_update = 1; }},
      {"two layers", [](RunConfig& c) { c.layers = 2; }},
      {"another seed", [](RunConfig& c) { c.seed = 12; }},
      {"one pair", [](RunConfig& c) { c.population = 2; }},
      {"a tile and a pair", [](RunConfig& c) { c.population = 34; }},
  };
  std::set<std::string> digests{expect_same_on_all_ranks("small_config")};
  const RunConfig standard = config_;
  for (const Variation& variation : variations) {
    config_ = standard;
    variation.apply(config_);
    EXPECT_TRUE(digests.insert(expect_same_on_all_ranks(variation.name)).second)
        << variation.name << " changes nothing";
  }
}

TEST_F(Generation, FitnessAsTernaryValuesLearnsTheSameAsFitnessInFull) {
  config_.fitness = FitnessRule::sign;
  const std::string full = expect_same_on_all_ranks("int32");
  config_.fitness_encoding = FitnessEncoding::ternary;
  EXPECT_EQ(expect_same_on_all_ranks("ternary"), full);
}

TEST_F(Generation, RankZeroKnowsThePopulationAndEveryRankTheSummary) {
  SoloCollectives solo;
  SmallRun alone(config_, solo), together(config_, mpi_world());
  for (int g = 0; g < 4; ++g) {
    const GenerationRecord expected = alone.step();
    const GenerationRecord record = together.step();
    EXPECT_EQ(std::memcmp(&record.shaped, &expected.shaped, sizeof record.shaped), 0);
    EXPECT_EQ(record.update.changed, expected.update.changed);
    EXPECT_FALSE(record.stop_requested);
    if (mpi_world().rank() != 0) continue;
    EXPECT_EQ(record.score_sum, expected.score_sum);
    EXPECT_LT(record.score_sum, 0);
    EXPECT_EQ(record.ties, expected.ties);
    EXPECT_EQ(record.active_pairs, expected.active_pairs);
    EXPECT_GT(record.active_pairs, 0u);
    EXPECT_GE(record.slowest_evaluate_s, record.evaluate_s);
    EXPECT_LT(record.slowest_rank, mpi_world().size());
  }
}

TEST_F(Generation, AStopAskedOfAnyRankIsKnownToRankZero) {
  SmallRun run(config_, mpi_world());
  for (int asked = 0; asked < mpi_world().size(); ++asked) {
    const GenerationRecord record = run.step(mpi_world().rank() == asked);
    EXPECT_TRUE(record.stop_requested || mpi_world().rank() != 0) << asked;
  }
  const GenerationRecord record = run.step();
  EXPECT_FALSE(record.stop_requested);
}

TEST_F(Generation, APopulationWithoutDifferencesChangesNothing) {
  // Perturbations of 2^-8 of a weight's scale on one byte: hardly any score differs.
  config_.sigma_shift = 8;
  config_.tokens_per_update = 1;
  config_.population = 2;
  config_.noise_reuse = 0;
  SmallRun run(config_, mpi_world());
  for (int g = 0; g < 20; ++g) {
    const std::string before = run.digest();
    const GenerationRecord record = run.step();
    if (record.shaped.sum_squares != 0) continue;
    EXPECT_EQ(run.digest(), before);
    EXPECT_EQ(record.update.changed, 0u);
    return;
  }
  ADD_FAILURE() << "no generation in which the pair ties: nothing was tested";
}

}  // namespace
}  // namespace eggroll
