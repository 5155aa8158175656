// Mean and deviation of every number of an observation, over all observations that all members have met,
// exactly: sums of integers, which no order and no number of ranks changes. An observation counts as
// round(2^20 x), x clipped to +-2^15. What a tile adds are words that add up without a carry:
//
//   [0]            observations
//   [1 + 5 d ...]  of number d: sum q as 2 words (the lower one of 32 bits), sum q^2 as 3
//
// Words of a tile are split before they are added to others', so the totals are the same words however
// tiles come together (Task::running_sums keeps them).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace eggroll {

constexpr size_t kWordsPerNumber = 5;
constexpr size_t statistics_words(size_t numbers) { return 1 + kWordsPerNumber * numbers; }

// Of one tile.
class ObservationSums {
 public:
  explicit ObservationSums(size_t numbers) : sums_(numbers) {}

  // Finite numbers, or such as count as 0.
  void add(std::span<const float> observation);
  // to [statistics_words(numbers)] += the words.
  void add_to(std::span<int64_t> to) const;

 private:
  __extension__ using Wide = unsigned __int128;
  struct Sums {
    int64_t q = 0;
    Wide squares = 0;
  };
  int64_t count_ = 0;
  std::vector<Sums> sums_;
};

// (x - mean) / deviation, clipped to +-5. Before there are observations x itself.
class Normaliser {
 public:
  explicit Normaliser(size_t numbers) : mean_(numbers), factor_(numbers, 1) {}

  // words: of the totals.
  void read(std::span<const int64_t> words);
  void apply(std::span<const float> observation, std::span<float> to) const;

 private:
  bool is_in_use_ = false;
  std::vector<float> mean_, factor_;
};

}  // namespace eggroll
