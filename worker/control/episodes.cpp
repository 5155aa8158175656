#include "worker/control/episodes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/check.hpp"
#include "common/rng.hpp"

namespace eggroll {

uint64_t episode_seed(uint64_t run_seed, uint64_t generation, SeedKind kind, uint64_t who,
                      uint32_t number) {
  const PhiloxBlock block =
      philox4x32({{number, static_cast<uint32_t>(who), static_cast<uint32_t>(kind),
                   static_cast<uint32_t>(generation)}},
                 static_cast<uint32_t>(run_seed), static_cast<uint32_t>(run_seed >> 32));
  return uint64_t{block.word[1]} << 32 | block.word[0];
}

std::optional<Episode> MemberEpisodes::next(bool may_wait) {
  const auto has_more = [](const Tile& tile) { return tile.begun < tile.returns.size(); };
  auto tile = std::ranges::find_if(tiles_, has_more);
  if (tile == tiles_.end()) {
    if (!take_tiles(may_wait)) return std::nullopt;
    tile = std::ranges::find_if(tiles_, has_more);
  }
  const uint64_t of_tile = tile->begun++;
  const uint64_t member = 2 * tile->pairs.first + of_tile / settings_.episodes;
  const auto number = static_cast<uint32_t>(of_tile % settings_.episodes);
  const uint64_t who = settings_.seeds == EpisodeSeeds::member ? member
                       : settings_.seeds == EpisodeSeeds::pair ? member / 2
                                                               : 0;
  return Episode{
      .noise = noise_of_member(member, settings_.sampling),
      .seed = episode_seed(settings_.seed, generation_, SeedKind::episode, who, number),
      .action_seed = episode_seed(settings_.seed, generation_, SeedKind::actions, member, number),
      .gathers = settings_.statistics_of > 0 ? &tile->sums : nullptr,
      .number = member * settings_.episodes + number};
}

bool MemberEpisodes::take_tiles(bool may_wait) {
  const std::optional<PairRange> taken =
      may_wait ? pairs_.take(kTilePairs) : pairs_.take_ready(kTilePairs);
  if (!taken) return false;
  for (uint64_t first = taken->first; first < taken->end();) {
    const uint64_t end = std::min(taken->end(), (first / kTilePairs + 1) * kTilePairs);
    tiles_.push_back({.pairs = {first, end - first},
                      .returns = std::vector<double>(2 * (end - first) * settings_.episodes),
                      .sums = ObservationSums(settings_.statistics_of)});
    first = end;
  }
  return true;
}

void MemberEpisodes::finish(const Episode& episode, const EpisodeResult& result) {
  const auto tile = std::ranges::find_if(tiles_, [&](const Tile& each) {
    const uint64_t first = 2 * each.pairs.first * settings_.episodes;
    return episode.number >= first && episode.number < first + each.returns.size();
  });
  require(tile != tiles_.end(), "an episode of a tile in hand");
  tile->returns[episode.number - 2 * tile->pairs.first * settings_.episodes] =
      result.end == EpisodeState::failed ? std::numeric_limits<double>::quiet_NaN() : result.total;
  tile->tally[kSteps] += result.steps;
  tile->tally[kEpisodes] += 1;
  tile->tally[kTerminated] += result.end == EpisodeState::terminated;
  tile->tally[kFailed] += result.end == EpisodeState::failed;
  if (++tile->ended < tile->returns.size()) return;
  finish_tile(*tile);
  tiles_.erase(tile);
}

void MemberEpisodes::finish_tile(const Tile& tile) {
  std::vector<double> fitness(2 * tile.pairs.count);
  for (size_t i = 0; i < tile.returns.size(); ++i)
    fitness[i / settings_.episodes] += tile.returns[i] / settings_.episodes;
  std::vector<int64_t> words;
  if (settings_.statistics_of > 0) {
    words.resize(statistics_words(settings_.statistics_of));
    tile.sums.add_to(words);
  }
  pairs_.finish(tile.pairs, fitness, tile.tally, words);
}

std::optional<Episode> UnperturbedEpisodes::next(bool) {
  const std::lock_guard lock(mutex_);
  if (next_ >= count_) return std::nullopt;
  const uint32_t number = next_;
  next_ += every_;
  return Episode{.seed = episode_seed(seed_, 0, SeedKind::validation, 0, number),
                 .action_seed = episode_seed(seed_, 0, SeedKind::validation_actions, 0, number),
                 .number = number};
}

void UnperturbedEpisodes::finish(const Episode& episode, const EpisodeResult& result) {
  const std::lock_guard lock(mutex_);
  finished_.push_back({episode.number, result});
}

}  // namespace eggroll
