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
using test::small_config;
using test::SmallRun;
using test::SoloCollectives;

// A task whose tiles take a while longer.
class SlowTask final : public Task {
 public:
  SlowTask(std::unique_ptr<Task> task, std::chrono::milliseconds delay)
      : task_(std::move(task)), delay_(delay) {}

  Backend& backend() override { return task_->backend(); }
  std::string data_digest() const override { return task_->data_digest(); }
  void evaluate(const GenerationPlan& plan, std::span<int32_t> fitness,
                const std::function<bool()>& give_up) override {
    task_->evaluate(plan, fitness, give_up);
  }
  void evaluate_tiles(const GenerationPlan& plan, TileSource& tiles,
                      const std::function<bool()>& give_up) override {
    Delayed delayed{tiles, give_up, delay_};
    task_->evaluate_tiles(plan, delayed, give_up);
  }
  uint64_t advance(uint64_t position) const override { return task_->advance(position); }
  StreamScores validate(int rank, int ranks) override { return task_->validate(rank, ranks); }
  std::vector<std::string> reference_lines() const override { return task_->reference_lines(); }

 private:
  struct Delayed final : TileSource {
    Delayed(TileSource& t, const std::function<bool()>& g, std::chrono::milliseconds d)
        : tiles(t), give_up(g), delay(d) {}
    std::vector<PairRange> take(size_t at_most) override {
      const auto pairs = tiles.take(at_most);
      const auto end = std::chrono::steady_clock::now() + delay;
      while (!pairs.empty() && !give_up() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return pairs;
    }
    void finish(PairRange pairs, std::span<const int32_t> score) override {
      tiles.finish(pairs, score);
    }
    void close() override { tiles.close(); }
    TileSource& tiles;
    const std::function<bool()>& give_up;
    const std::chrono::milliseconds delay;
  };

  std::unique_ptr<Task> task_;
  const std::chrono::milliseconds delay_;
};

class ThrowingTask final : public Task {
 public:
  explicit ThrowingTask(std::unique_ptr<Task> task) : task_(std::move(task)) {}
  Backend& backend() override { return task_->backend(); }
  std::string data_digest() const override { return ""; }
  void evaluate(const GenerationPlan&, std::span<int32_t>, const std::function<bool()>&) override {}
  void evaluate_tiles(const GenerationPlan& plan, TileSource& tiles,
                      const std::function<bool()>& give_up) override {
    struct Broken final : TileSource {
      explicit Broken(TileSource& t) : tiles(t) {}
      std::vector<PairRange> take(size_t at_most) override {
        const auto pairs = tiles.take(at_most);
        if (taken++ == 1) throw Error("the second tile is broken");
        return pairs;
      }
      void finish(PairRange pairs, std::span<const int32_t> score) override {
        tiles.finish(pairs, score);
      }
      void close() override { tiles.close(); }
      TileSource& tiles;
      std::atomic<int> taken = 0;
    } broken(tiles);
    task_->evaluate_tiles(plan, broken, give_up);
  }
  uint64_t advance(uint64_t position) const override { return position; }
  StreamScores validate(int, int) override { return {}; }
  std::vector<std::string> reference_lines() const override { return {}; }

 private:
  std::unique_ptr<Task> task_;
};

class Tiles : public testing::Test {
 protected:
  Tiles() {
    config_ = small_config(folder_.write("text", generated_text(9000)).string());
    config_.carry = Carry::reset;
    config_.population = 330;  // eleven tiles, the last one of five pairs
  }

  std::string alone(int generations) {
    SoloCollectives solo;
    SmallRun run(config_, solo);
    run.steps(generations);
    return run.digest();
  }

  ScratchFolder folder_;
  RunConfig config_;
};

TEST_F(Tiles, GiveTheParametersThatOneRankGives) {
  for (const bool ternary : {false, true}) {
    config_.fitness = ternary ? FitnessRule::sign : FitnessRule::levels;
    config_.fitness_encoding = ternary ? FitnessEncoding::ternary : FitnessEncoding::int32;
    for (const uint64_t population : {2, 34, 330}) {
      config_.population = population;
      SCOPED_TRACE(testing::Message() << population << " members, ternary " << ternary);
      const std::string expected = alone(6);
      for (const int threads : {1, 2}) {
        SmallRun run(config_, mpi_world(), threads);
        run.steps(6);
        EXPECT_EQ(run.digest(), expected) << threads << " threads";
      }
    }
  }
}

TEST_F(Tiles, TellRank0WhatItsOwnPairsWouldHaveToldIt) {
  SoloCollectives solo;
  SmallRun expected(config_, solo), run(config_, mpi_world());
  for (int g = 0; g < 4; ++g) {
    const GenerationRecord alone = expected.step(), together = run.step();
    EXPECT_EQ(together.shaped.sum_squares, alone.shaped.sum_squares);
    EXPECT_FALSE(together.stop_requested);
    if (mpi_world().rank() != 0) continue;
    EXPECT_EQ(together.score_sum, alone.score_sum);
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
    SmallRun run(config_, mpi_world(), std::make_unique<SlowTask>(make_task(config_, 1), delay));
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

TEST_F(Tiles, ThatCannotBeRunEndTheRank) {
  for (const int threads : {1, 2}) {
    SoloCollectives solo;
    ThrowingTask task(make_task(config_, threads));
    task.backend().write_parameters(int_rnn_initial_parameters(config_.shape(), config_.seed));
    EXPECT_THROW(exchange_tiles({}, config_, solo, task), Error) << threads;
  }
}

// One tile, which nobody wants any more when it is at its fourth token.
TEST_F(Tiles, ThatAreGivenUpAreLeftWithinAToken) {
  struct OneTile final : TileSource {
    std::vector<PairRange> take(size_t) override {
      return taken++ == 0 ? std::vector{PairRange{16, 16}} : std::vector<PairRange>{};
    }
    void finish(PairRange, std::span<const int32_t>) override { ++finished; }
    void close() override {}
    int taken = 0, finished = 0;
  };
  const std::unique_ptr<Task> task = make_task(config_, 1);
  task->backend().write_parameters(int_rnn_initial_parameters(config_.shape(), config_.seed));
  int asked = 0;
  OneTile left;
  task->evaluate_tiles({}, left, [&] { return ++asked == 4; });
  EXPECT_EQ(left.finished, 0);
  EXPECT_EQ(asked, 4);
  OneTile wanted;
  task->evaluate_tiles({}, wanted, [] { return false; });
  EXPECT_EQ(wanted.finished, 1);
}

TEST_F(Tiles, AreTakenWhereMembersCarryNoStateAndThereAreOthers) {
  EXPECT_TRUE(takes_tiles(config_, 2, false));
  EXPECT_FALSE(takes_tiles(config_, 1, false));
  EXPECT_FALSE(takes_tiles(config_, 2, true));  // a GPU: only where it is asked for
  config_.schedule = TileSchedule::dynamic;
  EXPECT_TRUE(takes_tiles(config_, 2, true));
  config_.schedule = TileSchedule::fixed;
  EXPECT_FALSE(takes_tiles(config_, 2, false));
  config_.schedule = TileSchedule::automatic;
  config_.carry = Carry::pair;
  EXPECT_FALSE(takes_tiles(config_, 2, false));
}

}  // namespace
}  // namespace eggroll
