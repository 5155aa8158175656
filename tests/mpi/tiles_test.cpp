// Tiles taken one by one: whoever runs them, and however slowly, a run has the parameters that one
// rank gives it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "coordinator/evaluation.hpp"
#include "coordinator/tiles/tile_exchange.hpp"
#include "tests/support/mpi_world.hpp"
#include "tests/support/small_run.hpp"
#include "tests/support/solo_collectives.hpp"

namespace eggroll {
namespace {

using test::generated_text;
using test::mpi_world;
using test::ScratchFolder;
using test::small_values;
using test::SmallRun;
using test::SoloCollectives;

// What a task is asked through: all of it the other task's own, but for the pairs.
class WrappedTask : public Task {
 public:
  explicit WrappedTask(std::unique_ptr<Task> task) : task_(std::move(task)) {}
  std::string data_digest() const override { return task_->data_digest(); }
  double sigma(uint64_t generation) const override { return task_->sigma(generation); }
  Tally validate(int rank, int ranks) override { return task_->validate(rank, ranks); }
  std::vector<Metric> train_metrics(const Tally& t, const FitnessSummary& f) const override {
    return task_->train_metrics(t, f);
  }
  std::vector<Metric> validation_metrics(const Tally& t) const override {
    return task_->validation_metrics(t);
  }
  std::optional<size_t> running_sums() const override { return task_->running_sums(); }
  CarriedStates* carried() override { return task_->carried(); }

 protected:
  struct WrappedSource : PairSource {
    explicit WrappedSource(PairSource& s) : source(s) {}
    uint64_t known() const override { return source.known(); }
    std::optional<PairRange> take(uint64_t at_most) override { return source.take(at_most); }
    std::optional<PairRange> take_ready(uint64_t at_most) override {
      return source.take_ready(at_most);
    }
    void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
                std::span<const int64_t> sums) override {
      source.finish(pairs, fitness, tally, sums);
    }
    bool is_over() const override { return source.is_over(); }
    void close() override { source.close(); }
    PairSource& source;
  };
  std::unique_ptr<Task> task_;
};

// A task whose tiles take a while longer.
class SlowTask final : public WrappedTask {
 public:
  SlowTask(std::unique_ptr<Task> task, std::chrono::milliseconds delay)
      : WrappedTask(std::move(task)), delay_(delay) {}

  void evaluate(const GenerationPlan& plan, PairSource& source) override {
    struct Delayed final : WrappedSource {
      Delayed(PairSource& s, std::chrono::milliseconds d) : WrappedSource(s), delay(d) {}
      std::optional<PairRange> take(uint64_t at_most) override {
        const auto pairs = source.take(at_most);
        const auto end = std::chrono::steady_clock::now() + delay;
        while (pairs && !source.is_over() && std::chrono::steady_clock::now() < end)
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return pairs;
      }
      const std::chrono::milliseconds delay;
    } delayed(source, delay_);
    task_->evaluate(plan, delayed);
  }

 private:
  const std::chrono::milliseconds delay_;
};

class ThrowingTask final : public WrappedTask {
 public:
  using WrappedTask::WrappedTask;
  void evaluate(const GenerationPlan& plan, PairSource& source) override {
    struct Broken final : WrappedSource {
      using WrappedSource::WrappedSource;
      std::optional<PairRange> take(uint64_t at_most) override {
        const auto pairs = source.take(at_most);
        if (taken++ == 1) throw Error("the second tile is broken");
        return pairs;
      }
      std::atomic<int> taken = 0;
    } broken(source);
    task_->evaluate(plan, broken);
  }
};

class Tiles : public testing::Test {
 protected:
  Tiles() {
    values_ = small_values(folder_.write("text", generated_text(9000)).string());
    values_["carry"] = "reset";
    values_["population"] = "330";  // eleven tiles, the last one of five pairs
  }

  std::string alone(int generations) {
    SoloCollectives solo;
    SmallRun run(config(), solo);
    run.steps(generations);
    return run.digest();
  }

  RunConfig config() const { return test::config_of(values_); }

  ScratchFolder folder_;
  test::ConfigValues values_;
};

TEST_F(Tiles, GiveTheParametersThatOneRankGives) {
  for (const bool ternary : {false, true}) {
    values_["fitness"] = ternary ? "sign" : "levels";
    values_["fitness-encoding"] = ternary ? "ternary" : "int32";
    for (const char* population : {"2", "34", "330"}) {
      values_["population"] = population;
      SCOPED_TRACE(testing::Message() << population << " members, ternary " << ternary);
      const std::string expected = alone(6);
      for (const int threads : {1, 2}) {
        SmallRun run(config(), mpi_world(), threads);
        run.steps(6);
        EXPECT_EQ(run.digest(), expected) << threads << " threads";
      }
    }
  }
}

TEST_F(Tiles, TellRank0WhatItsOwnPairsWouldHaveToldIt) {
  SoloCollectives solo;
  SmallRun expected(config(), solo), run(config(), mpi_world());
  for (int g = 0; g < 4; ++g) {
    const GenerationRecord alone = expected.step(), together = run.step();
    EXPECT_EQ(together.shaped.sum_squares, alone.shaped.sum_squares);
    EXPECT_FALSE(together.stop_requested);
    if (mpi_world().rank() != 0) continue;
    EXPECT_EQ(together.tally, alone.tally);
    EXPECT_EQ(together.ties, alone.ties);
    EXPECT_EQ(together.active_pairs, alone.active_pairs);
  }
  const GenerationRecord last = run.step(mpi_world().rank() == mpi_world().size() - 1);
  EXPECT_TRUE(last.stop_requested || mpi_world().rank() != 0);
}

// One rank is hundreds of times slower: the others do what it holds, and it is told of.
TEST_F(Tiles, OfASlowRankAreRunByTheOthers) {
  if (mpi_world().size() == 1) GTEST_SKIP() << "nobody to be slower than";
  constexpr std::chrono::milliseconds kSlow{2000}, kFast{5};
  const std::string expected = alone(2);
  for (const int slow : {0, mpi_world().size() - 1}) {
    SCOPED_TRACE(slow);
    const auto delay = mpi_world().rank() == slow ? kSlow : kFast;
    SmallRun run(config(), mpi_world(), 1, [&](std::unique_ptr<Task> task) {
      return std::make_unique<SlowTask>(std::move(task), delay);
    });
    for (int g = 0; g < 2; ++g) {
      const GenerationRecord record = run.step();
      EXPECT_LT(record.evaluate_s, 2.0) << "waits for the slow rank's tile";
      if (mpi_world().rank() != 0) continue;
      EXPECT_GT(record.tiles_given_again, 0u);
      EXPECT_EQ(record.slowest_rank, slow);
      EXPECT_TRUE(std::ranges::any_of(record.slow_ranks,
                                      [&](const SlowRank& each) { return each.rank == slow; }));
    }
    EXPECT_EQ(run.digest(), expected);
  }
}

// What was run twice moves the running sums once: statistics of observations, which members meet.
TEST_F(Tiles, ThatAreRunTwiceCountOnce) {
  if (mpi_world().size() == 1) GTEST_SKIP() << "nobody to run them again";
  values_ = {{"task", "control"}, {"population", "330"}, {"layers", "1"},
             {"width", "8"},      {"episodes", "2"},     {"run", "unused"}};
  const std::string expected = alone(2);
  const bool is_slow = mpi_world().rank() == mpi_world().size() - 1;
  SmallRun run(config(), mpi_world(), 1, [&](std::unique_ptr<Task> task) {
    return std::make_unique<SlowTask>(std::move(task),
                                      std::chrono::milliseconds(is_slow ? 1000 : 2));
  });
  uint64_t given_again = 0;
  for (int g = 0; g < 2; ++g) given_again += run.step().tiles_given_again;
  EXPECT_TRUE(given_again > 0 || mpi_world().rank() != 0);
  EXPECT_EQ(run.digest(), expected);
}

TEST_F(Tiles, ThatCannotBeRunEndTheRank) {
  for (const int threads : {1, 2}) {
    SoloCollectives solo;
    SmallRun run(config(), solo, threads, [](std::unique_ptr<Task> task) {
      return std::make_unique<ThrowingTask>(std::move(task));
    });
    EXPECT_THROW(exchange_tiles(run.plan(), run.config(), solo, run.task()), Error) << threads;
  }
}

// One tile, which nobody wants any more when it is at its fourth token.
TEST_F(Tiles, ThatAreGivenUpAreLeftWithinAToken) {
  struct OneTile final : PairSource {
    explicit OneTile(int unwanted) : unwanted_at(unwanted) {}
    uint64_t known() const override { return 0; }
    std::optional<PairRange> take(uint64_t) override {
      return taken++ == 0 ? std::optional(PairRange{16, 16}) : std::nullopt;
    }
    void finish(PairRange, std::span<const double>, const Tally&,
                std::span<const int64_t>) override {
      ++finished;
    }
    bool is_over() const override { return ++asked == unwanted_at; }
    void close() override {}
    const int unwanted_at;
    int taken = 0, finished = 0;
    mutable int asked = 0;
  };
  SoloCollectives solo;
  SmallRun run(config(), solo);
  OneTile left(4);
  run.task().evaluate(run.plan(), left);
  EXPECT_EQ(left.finished, 0);
  EXPECT_EQ(left.asked, 4);
  OneTile wanted(1000);
  run.task().evaluate(run.plan(), wanted);
  EXPECT_EQ(wanted.finished, 1);
}

TEST_F(Tiles, AreTakenWhereMembersCarryNoStateAndThereAreOthers) {
  RunConfig config = this->config();
  EXPECT_TRUE(takes_tiles(config, 2, false, false));
  EXPECT_FALSE(takes_tiles(config, 1, false, false));
  EXPECT_FALSE(takes_tiles(config, 2, false, true));  // a GPU: only where it is asked for
  config.schedule = TileSchedule::dynamic;
  EXPECT_TRUE(takes_tiles(config, 2, false, true));
  config.schedule = TileSchedule::fixed;
  EXPECT_FALSE(takes_tiles(config, 2, false, false));
  config.schedule = TileSchedule::automatic;
  EXPECT_FALSE(takes_tiles(config, 2, true, false));
}

}  // namespace
}  // namespace eggroll
