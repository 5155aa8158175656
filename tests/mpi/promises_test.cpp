// The promises that hold for every task and every optimiser, because they are kept by what knows
// neither: the same parameters, bit for bit, on any number of ranks and threads, whoever runs which
// pairs, whatever a rank steps, and after a stop on other ranks. A new task is a row of kCases.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>

#include "common/files/checkpoint_folder.hpp"
#include "coordinator/records/buddy.hpp"
#include "tests/support/mpi_world.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/solo_collectives.hpp"

namespace eggroll {
namespace {

using test::ConfigValues;
using test::mpi_world;
using test::SmallRun;
using test::SoloCollectives;

struct Case {
  const char* name;
  int generations;
  ConfigValues values;
};

// What makes a short run of a task; `data` is filled in where a task reads some.
const Case kCases[] = {
    {"lm_sigma_delta", 12, {{"task", "lm"}, {"carry", "pair"}}},
    {"lm_threshold", 12, {{"task", "lm"}, {"carry", "reset"}, {"update", "threshold"}}},
    {"quadratic_adam", 100, {{"task", "quadratic"}}},
    {"quadratic_full", 20, {{"task", "quadratic"}, {"perturbation", "full"}, {"update", "sgd"}}},
    {"quadratic_independent",
     20,
     {{"task", "quadratic"},
      {"sampling", "independent"},
      {"update", "momentum"},
      {"fitness", "z-score"}}},
    {"quadratic_rank_3",
     20,
     {{"task", "quadratic"},
      {"noise-rank", "3"},
      {"update", "adamw"},
      {"fitness", "group"},
      {"group-size", "10"}}},
    {"quadratic_raw",
     20,
     {{"task", "quadratic"}, {"fitness", "raw"}, {"noise-reuse", "3"}, {"update", "sgd"}}},
    {"quadratic_levels",
     20,
     {{"task", "quadratic"},
      {"fitness", "levels"},
      {"update", "sgd"},
      {"learning-rate-schedule", "cosine"},
      {"sigma-schedule", "exponential"}}},
    {"control_cart_pole",
     6,
     {{"task", "control"}, {"layers", "1"}, {"width", "16"}, {"episodes", "2"}, {"sigma", "0.3"}}},
    {"control_pendulum",
     2,
     {{"task", "control"},
      {"env", "Pendulum-v1"},
      {"layers", "2"},
      {"width", "10"},
      {"activation", "pqn"},
      {"actions", "sampled"},
      {"action-noise", "0.2"},
      {"noise-rank", "2"},
      {"episode-seeds", "member"}}},
    {"control_acrobot",
     2,
     {{"task", "control"},
      {"env", "Acrobot-v1"},
      {"layers", "1"},
      {"width", "9"},
      {"observations", "raw"},
      {"actions", "sampled"},
      {"perturbation", "full"},
      {"sampling", "independent"}}},
};

class Promises : public testing::TestWithParam<Case> {
 protected:
  Promises() {
    values_ = GetParam().values;
    if (values_["task"] == "lm") {
      for (const auto& [name, value] :
           test::small_values(folder_.write("text", test::generated_text(6000)).string()))
        values_.emplace(name, value);
    } else {
      values_.emplace("population", "90");  // three tiles, the last one of 13 pairs
      values_.emplace("generations", "100");
    }
    values_["run"] = folder_.path().string();
  }

  RunConfig config() const { return test::config_of(values_); }
  int generations() const { return GetParam().generations; }

  // On one rank and one thread, without a stop.
  std::string alone() const {
    SoloCollectives solo;
    SmallRun run(config(), solo);
    run.steps(generations());
    return run.digest();
  }

  test::ScratchFolder folder_;  // of this rank
  ConfigValues values_;
};

TEST_P(Promises, AnyRanksAndThreadsAndSharesAndStepsGiveOneDigest) {
  const std::string expected = alone();
  for (const char* schedule : {"static", "auto"})
    for (const int threads : {1, 2})
      for (const StepMode step : {StepMode::replicated, StepMode::sharded}) {
        values_["schedule"] = schedule;
        SmallRun run(config(), mpi_world(), threads, {}, step);
        run.steps(generations());
        EXPECT_EQ(run.digest(), expected) << schedule << ", " << threads << " threads"
                                          << (step == StepMode::sharded ? ", sharded" : "");
      }
}

TEST_P(Promises, ARunGoesOnOnOtherRanksAsIfNothingHadBeen) {
  const std::string expected = alone();
  const int half = generations() / 2;
  SoloCollectives solo;
  SmallRun first(config(), solo);  // each rank into its own folder
  first.steps(half);
  first.write();
  const auto written = checkpoint_path(folder_.path(), static_cast<uint64_t>(half));
  std::optional<CheckpointReader> reader;
  if (mpi_world().rank() == 0) reader.emplace(written);
  SmallRun second(config(), mpi_world());
  second.load(reader ? &*reader : nullptr);
  EXPECT_EQ(second.generation(), static_cast<uint64_t>(half));
  second.steps(generations() - half);
  EXPECT_EQ(second.digest(), expected);
}

// All but one of the ranks go on from what they keep in memory, each with other pairs than before.
TEST_P(Promises, ThoseThatAreLeftGoOnFromTheirBuddyCheckpoints) {
  const std::string expected = alone();
  SmallRun run(config(), mpi_world());
  BuddyCheckpoints buddies;
  const int half = generations() / 2;
  run.steps(half);
  buddies.keep(run.config(), mpi_world(), run.task(), run.learner(), run.generation());
  // Work that is lost.
  run.steps(1);
  std::vector<std::array<HeldCopy, 2>> held(static_cast<size_t>(mpi_world().size()));
  const auto mine = buddies.held();
  mpi_world().all_gather(bytes_of(mine), bytes_of(held));
  CarriedStates* carried = run.task().carried();
  const bool carries_states = carried && carried->slots_per_pair() > 0;
  const auto common = common_copy(run.config(), carries_states, held, 1000);
  ASSERT_TRUE(common.has_value());
  buddies.restore(run.config(), mpi_world(), run.task(), run.learner(), *common, held);
  // A run that has stepped on from the copy is what the undisturbed one is.
  run.go_back_to(*common);
  run.steps(generations() - half);
  EXPECT_EQ(run.digest(), expected);
}

TEST_P(Promises, EveryOptionOfACaseChangesTheResult) {
  SoloCollectives solo;
  const std::string expected = alone();
  for (const auto& [name, value] : GetParam().values) {
    if (name == "task") continue;
    ConfigValues others = values_;
    others.erase(name);
    std::string digest = "not allowed without it";
    try {
      SmallRun run(test::config_of(others), solo);
      run.steps(generations());
      digest = run.digest();
    } catch (const ConfigError&) {
    }
    const bool is_default = test::config_of(others) == config();
    EXPECT_EQ(digest == expected, is_default) << name << " = " << value;
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, Promises, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace eggroll
