// Sources of pairs for tests: a slice whose size is known, or tiles that come in a given order. What is
// finished is kept, as the integers that scores are.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/pair_source.hpp"
#include "kernels/int_rnn.hpp"

namespace eggroll::test {

class GivenPairs final : public PairSource {
 public:
  explicit GivenPairs(PairRange slice) : GivenPairs({slice}, slice.first, slice.count) {
    known_ = slice.count;
  }
  // Ranges of the pairs first ... first + count - 1, each once; how many there are is not known.
  GivenPairs(std::vector<PairRange> tiles, uint64_t first, uint64_t count)
      : scores(2 * count, INT32_MIN), waiting_(std::move(tiles)), first_(first) {
    std::ranges::reverse(waiting_);
  }

  uint64_t known() const override { return known_; }
  std::optional<PairRange> take(uint64_t at_most) override {
    const std::lock_guard lock(mutex_);
    if (closed_ || waiting_.empty()) return std::nullopt;
    if (at_most == 0) ADD_FAILURE() << "nothing is asked for";
    // As many of what waits as follow each other.
    PairRange taken{waiting_.back().first, 0};
    while (!waiting_.empty() && waiting_.back().first == taken.end() && taken.count < at_most) {
      PairRange& next = waiting_.back();
      const uint64_t count = std::min(next.count, at_most - taken.count);
      taken.count += count;
      next = {next.first + count, next.count - count};
      if (next.count == 0) waiting_.pop_back();
    }
    return taken;
  }
  void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
              std::span<const int64_t>) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(fitness.size(), 2 * pairs.count);
    if (known_ == 0) {
      EXPECT_EQ(pairs.first / kTilePairs, (pairs.end() - 1) / kTilePairs) << "more than a tile";
    }
    int64_t sum = 0;
    for (size_t i = 0; i < fitness.size(); ++i) {
      const auto score = static_cast<int32_t>(fitness[i]);
      EXPECT_EQ(static_cast<double>(score), fitness[i]);
      int32_t& of_member = scores.at(2 * (pairs.first - first_) + i);
      EXPECT_EQ(of_member, INT32_MIN) << "finished twice";
      of_member = score;
      sum += score;
    }
    EXPECT_EQ(tally, (Tally{{sum}}));
  }
  bool is_over() const override { return over; }
  void close() override {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  bool is_closed() const { return closed_; }

  std::vector<int32_t> scores;  // of the members of all pairs; INT32_MIN: not finished
  std::atomic<bool> over = false;

 private:
  std::mutex mutex_;
  std::vector<PairRange> waiting_;  // the next one last
  uint64_t first_, known_ = 0;
  bool closed_ = false;
};

// The scores of the members of these pairs.
inline std::vector<int32_t> scores_of(IntRnn& model, const Evaluation& evaluation,
                                      PairRange pairs) {
  GivenPairs source(pairs);
  model.evaluate(evaluation, source);
  EXPECT_FALSE(source.is_closed());
  EXPECT_EQ(std::ranges::count(source.scores, INT32_MIN), 0);
  return source.scores;
}

}  // namespace eggroll::test
