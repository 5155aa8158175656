// Generations on many ranks are those of one rank, bit for bit.
#include "coordinator/generation.hpp"

#include <gtest/gtest.h>

#include <cstring>
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

// Of the parameters and accumulators of small_values after five generations, on any machine. A
// change of the model, the noise, the data order or the update rule is a change of this number:
// then, and only then, copy the new one from the failure.
constexpr const char* kDigestOfFiveGenerations = "24154f13f2a6813f";

class Generation : public testing::Test {
 protected:
  Generation()
      : values_(test::small_values(folder_.write("text", test::generated_text(6000)).string())) {}

  std::string digest_on(Collectives& group, int threads = 1) const {
    SmallRun run(test::config_of(values_), group, threads);
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
  test::ConfigValues values_;
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
  const test::ConfigValues variations[] = {
      {{"carry", "own"}},
      {{"carry", "reset"}},
      {{"fitness", "sign"}},
      {{"update", "threshold"}},
      {{"noise-rank", "4"}},
      {{"noise-rank", "16"}},
      {{"perturbation-rounding", "floor"}},
      {{"sigma-shift", "2"}},
      {{"group-size", "4"}},
      {{"group-size", "10"}},
      {{"group-size", "80"}},
      {{"noise-reuse", "3"}},
      {{"noise-reuse", "0"}},
      {{"tokens-per-update", "1"}},
      {{"layers", "2"}},
      {{"seed", "12"}},
      {{"population", "2"}},   // one pair
      {{"population", "34"}},  // a tile and a pair
  };
  std::set<std::string> digests{expect_same_on_all_ranks("small_values")};
  const test::ConfigValues standard = values_;
  for (const test::ConfigValues& variation : variations) {
    values_ = standard;
    for (const auto& [name, value] : variation) values_[name] = value;
    const std::string what = variation.begin()->first + " = " + variation.begin()->second;
    EXPECT_TRUE(digests.insert(expect_same_on_all_ranks(what)).second)
        << what << " changes nothing";
  }
}

TEST_F(Generation, FitnessAsTernaryValuesLearnsTheSameAsFitnessInFull) {
  values_["fitness"] = "sign";
  const std::string full = expect_same_on_all_ranks("int32");
  values_["fitness-encoding"] = "ternary";
  EXPECT_EQ(expect_same_on_all_ranks("ternary"), full);
}

TEST_F(Generation, RankZeroKnowsThePopulationAndEveryRankTheSummary) {
  SoloCollectives solo;
  SmallRun alone(test::config_of(values_), solo), together(test::config_of(values_), mpi_world());
  for (int g = 0; g < 4; ++g) {
    const GenerationRecord expected = alone.step();
    const GenerationRecord record = together.step();
    EXPECT_EQ(std::memcmp(&record.shaped, &expected.shaped, sizeof record.shaped), 0);
    EXPECT_EQ(record.update.changed, expected.update.changed);
    EXPECT_FALSE(record.stop_requested);
    if (mpi_world().rank() != 0) continue;
    EXPECT_EQ(record.tally, expected.tally);
    EXPECT_LT(record.tally[0], 0);
    EXPECT_EQ(record.ties, expected.ties);
    EXPECT_EQ(record.active_pairs, expected.active_pairs);
    EXPECT_GT(record.active_pairs, 0u);
    EXPECT_GE(record.slowest_evaluate_s, record.evaluate_s);
    EXPECT_LT(record.slowest_rank, mpi_world().size());
  }
}

TEST_F(Generation, AStopAskedOfAnyRankIsKnownToRankZero) {
  SmallRun run(test::config_of(values_), mpi_world());
  for (int asked = 0; asked < mpi_world().size(); ++asked) {
    const GenerationRecord record = run.step(mpi_world().rank() == asked);
    EXPECT_TRUE(record.stop_requested || mpi_world().rank() != 0) << asked;
  }
  const GenerationRecord record = run.step();
  EXPECT_FALSE(record.stop_requested);
}

TEST_F(Generation, APopulationWithoutDifferencesChangesNothing) {
  // Perturbations of 2^-8 of a weight's scale on one byte: hardly any score differs.
  for (const auto& [name, value] : test::ConfigValues{{"sigma-shift", "8"},
                                                      {"tokens-per-update", "1"},
                                                      {"population", "2"},
                                                      {"noise-reuse", "0"}})
    values_[name] = value;
  SmallRun run(test::config_of(values_), mpi_world());
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
