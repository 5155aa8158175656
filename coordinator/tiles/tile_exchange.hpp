// The evaluation of a generation whose tiles are taken one by one. Rank 0 keeps the ledger; every
// rank, rank 0 too, asks it for tiles whenever its last one has been begun, and tells what they
// scored in letters. The main thread writes and reads these; the tiles are run by others, so that
// nobody waits until some rank has finished a tile.
//
//   rank 0                                every other rank                 what travels, in letters
//   ledger: tiles first ... + count ----> shelf: tiles that wait           16 bytes
//   fitness of these tiles  <------------ results; asks for more           24 bytes a tile and its
//   fitness all tiles are done      ------------> leaves what it still runs        16 bytes
#pragma once

#include <cstdint>
#include <vector>

#include "common/config.hpp"
#include "common/generation_plan.hpp"
#include "common/messages/collectives.hpp"
#include "worker/task.hpp"

namespace eggroll {

inline constexpr size_t kLetterBytesOfATile = 24;  // beside its fitness

struct ExchangedTiles {
  std::vector<int32_t> difference;  // [pairs], rank 0
  int64_t score_sum = 0;            // of all members, rank 0
  uint64_t given_again = 0;         // rank 0
  double tile_s = 0;                // what a tile took this rank
  uint64_t letters = 0;             // that this rank has posted
  std::vector<uint64_t> collected;  // [ranks] letters that rank 0 has had from each
};

// Collective. Throws what running a tile has thrown on this rank, and GroupBroken.
ExchangedTiles exchange_tiles(const GenerationPlan& plan, const RunConfig& config,
                              Collectives& group, Task& task);

// Rank 0: takes the letters that were still under way when all tiles were done. letters: how many
// each rank has posted.
void collect_rest(Collectives& group, const std::vector<uint64_t>& letters,
                  std::vector<uint64_t>& collected);

}  // namespace eggroll
