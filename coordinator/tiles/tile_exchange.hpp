// The evaluation of a generation whose tiles are taken one by one. Rank 0 keeps the ledger; every
// rank, rank 0 too, asks it for tiles whenever its last one has been begun, and tells what they
// scored by mail. The main thread writes and reads it; the tiles are run by others, so that
// nobody waits until some rank has finished a tile.
//
//   rank 0                                every other rank                 what travels, by mail
//   ledger: tiles first ... + count ----> shelf: tiles that wait           16 bytes
//   fitness of these tiles  <------------ results; asks for more           64 bytes a tile, its fitness
//                                                                          and sums
//   all tiles are done      ------------> leaves what it still runs        16 bytes
#pragma once

#include <cstdint>
#include <vector>

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "worker/task.hpp"

namespace eggroll {

inline constexpr size_t kMailBytesOfATile = 64;  // beside its fitness and sums

struct ExchangedTiles {
  std::vector<double> fitness;      // [members], rank 0; see evaluate_population
  Tally tally;                      // of all members, rank 0
  std::vector<int64_t> sums;        // likewise
  uint64_t given_again = 0;         // rank 0
  double tile_s = 0;                // what a tile took this rank
  uint64_t posted = 0;              // mail of this rank
  std::vector<uint64_t> collected;  // [ranks] mail that rank 0 has had from each
};

// Collective. Throws what running a tile has thrown on this rank, and GroupBroken.
ExchangedTiles exchange_tiles(const GenerationPlan& plan, const RunConfig& config,
                              Collectives& group, Task& task);

// Rank 0: takes the mail that was still under way when all tiles were done. posted: how much each
// rank has sent.
void collect_rest(Collectives& group, const std::vector<uint64_t>& posted,
                  std::vector<uint64_t>& collected);

}  // namespace eggroll
