// The pairs that are a rank's own, whatever others do: what static slices hand out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "common/pair_source.hpp"

namespace eggroll {

class OwnPairs final : public PairSource {
 public:
  // is_over: asked on any thread; empty: never.
  explicit OwnPairs(PairRange pairs, std::function<bool()> is_over = {})
      : is_over_(std::move(is_over)),
        pairs_(pairs),
        next_(pairs.first),
        fitness_(2 * pairs.count) {}

  uint64_t known() const override { return pairs_.count; }
  std::optional<PairRange> take(uint64_t at_most) override {
    const std::lock_guard lock(mutex_);
    const PairRange taken{next_, std::min(at_most, pairs_.end() - next_)};
    next_ += taken.count;
    return taken.count == 0 ? std::nullopt : std::optional(taken);
  }
  using PairSource::finish;
  void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
              std::span<const int64_t> sums) override {
    std::ranges::copy(fitness,
                      fitness_.begin() + static_cast<ptrdiff_t>(2 * (pairs.first - pairs_.first)));
    const std::lock_guard lock(mutex_);
    tally_ += tally;
    add_sums(sums_, sums);
  }
  bool is_over() const override { return is_over_ && is_over_(); }
  void close() override {
    const std::lock_guard lock(mutex_);
    next_ = pairs_.end();
  }

  // Two a pair, once evaluation has returned; and their tallies and sums together.
  const std::vector<double>& fitness() const { return fitness_; }
  const Tally& tally() const { return tally_; }
  const std::vector<int64_t>& sums() const { return sums_; }

 private:
  const std::function<bool()> is_over_;
  const PairRange pairs_;
  std::mutex mutex_;
  uint64_t next_;
  std::vector<double> fitness_;
  Tally tally_;
  std::vector<int64_t> sums_;
};

}  // namespace eggroll
