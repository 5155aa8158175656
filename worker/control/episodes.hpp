// Which episodes there are, and whose: seeds are addresses, functions of run, generation, who and number,
// so an episode is the same wherever and whenever it is run.
#pragma once

#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "common/generation_plan.hpp"
#include "common/pair_source.hpp"
#include "common/rules.hpp"
#include "worker/control/control_settings.hpp"
#include "worker/control/rollout.hpp"

namespace eggroll {

// What a seed is for. They stand where noise has the tensor, beyond all of a layout.
enum class SeedKind : uint32_t { episode = 0xFFFF0000u, actions, validation, validation_actions };
uint64_t episode_seed(uint64_t run_seed, uint64_t generation, SeedKind kind, uint64_t who,
                      uint32_t number);

// Counts of Task's tallies.
enum EpisodeCount : size_t { kSteps, kEpisodes, kTerminated, kFailed };

struct MemberEpisodesSettings {
  uint64_t seed = 0;
  uint32_t episodes = 1;  // of a member
  EpisodeSeeds seeds = EpisodeSeeds::pair;
  Sampling sampling = Sampling::antithetic;
  size_t statistics_of = 0;  // numbers of an observation that are to be gathered; 0: nothing is
};

// The episodes of the members that a PairSource hands out, a tile at a time; a tile's fitness goes back
// when its last episode has ended. Fitness is the mean return; NaN where an episode failed. Of one
// thread.
class MemberEpisodes final : public EpisodeSource {
 public:
  MemberEpisodes(const MemberEpisodesSettings& settings, uint64_t generation, PairSource& pairs)
      : settings_(settings), generation_(generation), pairs_(pairs) {}

  std::optional<Episode> next(bool may_wait) override;
  void finish(const Episode& episode, const EpisodeResult& result) override;
  bool is_over() const override { return pairs_.is_over(); }

 private:
  struct Tile {
    PairRange pairs;
    uint64_t begun = 0, ended = 0;  // episodes
    std::vector<double> returns;    // [members, episodes]
    Tally tally = {};
    ObservationSums sums;
  };

  bool take_tiles(bool may_wait);
  void finish_tile(const Tile& tile);

  const MemberEpisodesSettings settings_;
  const uint64_t generation_;
  PairSource& pairs_;
  std::list<Tile> tiles_;  // that have not been finished, in the order of their pairs
};

// Episodes 0 ... count - 1 of the unperturbed policy, of which a rank runs some. Several threads.
class UnperturbedEpisodes final : public EpisodeSource {
 public:
  UnperturbedEpisodes(uint64_t seed, uint32_t first, uint32_t every, uint32_t count)
      : seed_(seed), next_(first), every_(every), count_(count) {}

  std::optional<Episode> next(bool may_wait) override;
  void finish(const Episode& episode, const EpisodeResult& result) override;

  struct Finished {
    uint64_t number;
    EpisodeResult result;
  };
  const std::vector<Finished>& finished() const { return finished_; }

 private:
  const uint64_t seed_;
  std::mutex mutex_;
  uint32_t next_;
  const uint32_t every_, count_;
  std::vector<Finished> finished_;
};

}  // namespace eggroll
