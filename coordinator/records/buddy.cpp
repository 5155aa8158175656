#include "coordinator/records/buddy.hpp"

#include <algorithm>
#include <utility>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr uint64_t kSliceBytes = 16 << 20;  // of states on their way

using HeldByRank = std::vector<std::array<HeldGuard, 2>>;

uint64_t slot_bytes(const RunConfig& config) { return uint64_t{config.layers} * config.width; }
uint64_t state_bytes(const RunConfig& config, uint64_t pairs) {
  return pairs * state_slots_per_pair(config.carry) * slot_bytes(config);
}

bool is_of(const HeldGuard& guard, uint64_t generation) {
  return guard.is_held && guard.position.generation == generation;
}

// Who hands over the carried states of which pairs; the parts cover all pairs in order.
struct Part {
  int rank = 0;
  size_t guard = 0;    // of the rank's two
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
    const auto consider = [&](size_t rank, size_t guard, bool is_own, const PairRange& range) {
      if (range.count == 0 || range.first > next || range.end() <= next) return;
      if (best.pairs.count > 0 && (best.is_own || !is_own)) return;
      best = {static_cast<int>(rank), guard, is_own, {next, range.end() - next}, range.first};
    };
    // After a loss while a guard was being kept, a rank may hold two of one generation.
    for (size_t r = 0; r < held.size(); ++r)
      for (size_t g = 0; g < 2; ++g)
        if (is_of(held[r][g], generation)) {
          consider(r, g, true, held[r][g].own);
          consider(r, g, false, held[r][g].neighbour);
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

void Guards::keep(const RunConfig& config, Collectives& group, Task& task,
                  const RunPosition& position) {
  Backend& backend = task.backend();
  Guard& guard = guards_[1 - newest_];
  guard.held.is_held = false;
  guard.parameters.resize(backend.layout().size());
  guard.accumulators.resize(config.update == UpdateRule::sigma_delta ? guard.parameters.size() : 0);
  backend.read_parameters(guard.parameters);
  backend.read_accumulators(guard.accumulators);

  const int ranks = group.size();
  const PairRange own = pairs_of_rank(config.pairs(), group.rank(), ranks);
  guard.own_states.resize(state_bytes(config, own.count));
  backend.read_states(0, guard.own_states);
  // Past the ranks of this node, as a node may be lost as a whole.
  const int here = group.ranks_on_this_node();
  const int distance = here < ranks ? here : 1 % ranks;
  PairRange neighbour;
  if (distance != 0) {
    neighbour = pairs_of_rank(config.pairs(), (group.rank() + ranks - distance) % ranks, ranks);
    guard.neighbour_states.resize(state_bytes(config, neighbour.count));
    group.shift(bytes_of(std::as_const(guard.own_states)), distance,
                bytes_of(guard.neighbour_states));
  }
  guard.held = {true, position, own, neighbour};
  newest_ = 1 - newest_;
}

RunPosition Guards::restore(const RunConfig& config, Collectives& group, Task& task,
                            uint64_t generation, const HeldByRank& held) {
  const auto mine =
      std::ranges::find_if(guards_, [&](const Guard& g) { return is_of(g.held, generation); });
  require(mine != guards_.end(), "every rank holds the guard that is restored");
  newest_ = static_cast<size_t>(mine - guards_.begin());
  Backend& backend = task.backend();
  const PairRange now = pairs_of_rank(config.pairs(), group.rank(), group.size());
  backend.assign_pairs(now);
  backend.write_parameters(mine->parameters);
  backend.write_accumulators(mine->accumulators);
  if (state_bytes(config, 1) == 0) return mine->held.position;

  const uint64_t pair_bytes = state_bytes(config, 1);
  const uint64_t slice_pairs = std::max<uint64_t>(1, kSliceBytes / pair_bytes);
  std::vector<size_t> up(static_cast<size_t>(group.size())), down(up.size());
  std::vector<int8_t> leaving, passing, arriving;
  for (const Part& part : parts_that_cover(config, held, generation))
    for (int r = 0; r < group.size(); ++r) {
      const PairRange meet =
          intersection(part.pairs, pairs_of_rank(config.pairs(), r, group.size()));
      for (uint64_t first = meet.first; first < meet.end(); first += slice_pairs) {
        const size_t bytes = std::min(slice_pairs, meet.end() - first) * pair_bytes;
        leaving.resize(group.rank() == part.rank ? bytes : 0);
        const Guard& source = guards_[part.guard];
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
          group.gather(bytes_of(std::as_const(leaving)), up, bytes_of(passing));
          group.scatter(bytes_of(std::as_const(passing)), down, bytes_of(arriving));
        }
        if (group.rank() == r)
          backend.write_states((first - now.first) * state_slots_per_pair(config.carry), arriving);
      }
    }
  return mine->held.position;
}

std::optional<uint64_t> common_guard(const RunConfig& config, const HeldByRank& held,
                                     uint64_t latest) {
  std::optional<uint64_t> newest;
  for (const HeldGuard& candidate : held.front()) {
    const uint64_t generation = candidate.position.generation;
    if (!candidate.is_held || generation > latest || (newest && generation <= *newest)) continue;
    const bool is_with_all = std::ranges::all_of(held, [&](const auto& two) {
      return is_of(two[0], generation) || is_of(two[1], generation);
    });
    if (!is_with_all) continue;
    if (state_bytes(config, 1) > 0 && parts_that_cover(config, held, generation).empty()) continue;
    newest = generation;
  }
  return newest;
}

}  // namespace eggroll
