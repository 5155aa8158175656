#include "coordinator/records/buddy.hpp"

#include <algorithm>
#include <utility>

#include "common/check.hpp"
#include "coordinator/records/state_slices.hpp"

namespace eggroll {
namespace {

using HeldByRank = std::vector<std::array<HeldCopy, 2>>;

// Of the carried states of a pair; 0: there are none.
uint64_t pair_bytes_of(const CarriedStates* carried) {
  return carried ? carried->slots_per_pair() * carried->slot_bytes() : 0;
}

bool is_of(const HeldCopy& copy, uint64_t generation) {
  return copy.is_held && copy.generation == generation;
}

// Who hands over the carried states of which pairs; the parts cover all pairs in order.
struct Part {
  int rank = 0;
  size_t copy = 0;     // of the rank's two
  bool is_own = true;  // among the rank's own states in it, or its neighbour's
  PairRange pairs;
  uint64_t from = 0;  // first pair of the range that the rank holds
};

// Empty where some pairs are in nobody's hands.
std::vector<Part> parts_that_cover(const RunConfig& config, const HeldByRank& held,
                                   uint64_t generation) {
  std::vector<Part> parts;
  for (uint64_t next = 0; next < config.pairs();) {
    Part best;
    // A rank's own states rather than the copy of them.
    const auto consider = [&](size_t rank, size_t copy, bool is_own, const PairRange& range) {
      if (range.count == 0 || range.first > next || range.end() <= next) return;
      if (best.pairs.count > 0 && (best.is_own || !is_own)) return;
      best = {static_cast<int>(rank), copy, is_own, {next, range.end() - next}, range.first};
    };
    // After a loss while a copy was being kept, a rank may hold two of one generation.
    for (size_t r = 0; r < held.size(); ++r)
      for (size_t c = 0; c < 2; ++c)
        if (is_of(held[r][c], generation)) {
          consider(r, c, true, held[r][c].own);
          consider(r, c, false, held[r][c].neighbour);
        }
    if (best.pairs.count == 0) return {};
    parts.push_back(best);
    next = best.pairs.end();
  }
  return parts;
}

PairRange intersection(const PairRange& a, const PairRange& b) {
  const uint64_t first = std::max(a.first, b.first), end = std::min(a.end(), b.end());
  return {first, end > first ? end - first : 0};
}

}  // namespace

void BuddyCheckpoints::keep(const RunConfig& config, Collectives& group, Task& task,
                            Learner& learner, uint64_t generation) {
  Copy& copy = copies_[1 - newest_];
  copy.held.is_held = false;
  read_state(learner, config.update, copy.state);

  const int ranks = group.size();
  const PairRange own = pairs_of_rank(config.pairs(), group.rank(), ranks);
  CarriedStates* carried = task.carried();
  const uint64_t pair_bytes = pair_bytes_of(carried);
  copy.own_states.resize(own.count * pair_bytes);
  if (pair_bytes > 0) carried->read(0, copy.own_states);
  // Past the ranks of this node, as a node may be lost as a whole.
  const int here = group.ranks_on_this_node();
  const int distance = here < ranks ? here : 1 % ranks;
  PairRange neighbour;
  if (distance != 0) {
    neighbour = pairs_of_rank(config.pairs(), (group.rank() + ranks - distance) % ranks, ranks);
    copy.neighbour_states.resize(neighbour.count * pair_bytes);
    group.shift(std::as_const(copy.own_states), distance, copy.neighbour_states);
  }
  copy.held = {true, generation, own, neighbour};
  newest_ = 1 - newest_;
}

void BuddyCheckpoints::restore(const RunConfig& config, Collectives& group, Task& task,
                               Learner& learner, uint64_t generation, const HeldByRank& held) {
  const auto mine =
      std::ranges::find_if(copies_, [&](const Copy& c) { return is_of(c.held, generation); });
  require(mine != copies_.end(), "every rank holds the copy that is restored");
  newest_ = static_cast<size_t>(mine - copies_.begin());
  write_state(learner, mine->state);
  CarriedStates* carried = task.carried();
  if (!carried) return;
  const PairRange now = pairs_of_rank(config.pairs(), group.rank(), group.size());
  carried->assign(now);
  const uint64_t pair_bytes = pair_bytes_of(carried);
  if (pair_bytes == 0) return;

  const uint64_t slice_pairs = std::max<uint64_t>(1, kSliceBytes / pair_bytes);
  std::vector<size_t> up(static_cast<size_t>(group.size())), down(up.size());
  std::vector<std::byte> leaving, passing, arriving;
  for (const Part& part : parts_that_cover(config, held, generation))
    for (int r = 0; r < group.size(); ++r) {
      const PairRange meet =
          intersection(part.pairs, pairs_of_rank(config.pairs(), r, group.size()));
      for (uint64_t first = meet.first; first < meet.end(); first += slice_pairs) {
        const size_t bytes = std::min(slice_pairs, meet.end() - first) * pair_bytes;
        leaving.resize(group.rank() == part.rank ? bytes : 0);
        const Copy& source = copies_[part.copy];
        if (group.rank() == part.rank)
          std::copy_n((part.is_own ? source.own_states : source.neighbour_states).begin() +
                          static_cast<ptrdiff_t>((first - part.from) * pair_bytes),
                      bytes, leaving.begin());
        if (part.rank == r) {
          arriving = leaving;
        } else {
          std::ranges::fill(up, 0);
          std::ranges::fill(down, 0);
          up[static_cast<size_t>(part.rank)] = down[static_cast<size_t>(r)] = bytes;
          passing.resize(group.rank() == 0 ? bytes : 0);
          arriving.resize(group.rank() == r ? bytes : 0);
          group.gather(leaving, up, passing);
          group.scatter(passing, down, arriving);
        }
        if (group.rank() == r)
          carried->write((first - now.first) * carried->slots_per_pair(), arriving);
      }
    }
}

std::optional<uint64_t> common_copy(const RunConfig& config, bool carries_states,
                                    const HeldByRank& held, uint64_t latest) {
  std::optional<uint64_t> newest;
  for (const HeldCopy& candidate : held.front()) {
    const uint64_t generation = candidate.generation;
    if (!candidate.is_held || generation > latest || (newest && generation <= *newest)) continue;
    const bool is_with_all = std::ranges::all_of(held, [&](const auto& two) {
      return is_of(two[0], generation) || is_of(two[1], generation);
    });
    if (!is_with_all) continue;
    if (carries_states && parts_that_cover(config, held, generation).empty()) continue;
    newest = generation;
  }
  return newest;
}

}  // namespace eggroll
