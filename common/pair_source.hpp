// Where the pairs come from that an evaluation runs, and where their fitness goes: a slice that is a
// rank's own, or tiles that are handed out one by one, are one thing to those who run them. Called on
// any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "common/partition.hpp"
#include "common/tally.hpp"

namespace eggroll {

class PairSource {
 public:
  virtual ~PairSource() = default;

  // How many pairs are there to be taken, where that is known before the first is; 0: it is not. Who
  // has several threads shares them out by it.
  virtual uint64_t known() const = 0;
  // The next pairs to run, consecutive, at most so many; waits for the first. None: there are no more.
  virtual std::optional<PairRange> take(uint64_t at_most) = 0;
  // The same without waiting; none: no pairs are ready at this moment, and more may follow. Who has pairs
  // in hand asks so, as others may be waiting for these. Where take() never waits it is take().
  virtual std::optional<PairRange> take_ready(uint64_t at_most) { return take(at_most); }
  // The fitness of the members of pairs that were taken together, two a pair, what they counted, and
  // what they add to the running sums, nothing where the task has none (Task::running_sums). Where
  // known() is 0, of one tile at a time. Not called for what was left because is_over() said yes.
  virtual void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
                      std::span<const int64_t> sums) = 0;
  void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally) {
    finish(pairs, fitness, tally, {});
  }
  // Whether the fitness that is still missing is of no use any more: what runs is left.
  virtual bool is_over() const = 0;
  // From now on there are no more: someone who runs them has failed, and the others would wait.
  virtual void close() = 0;
};

}  // namespace eggroll
