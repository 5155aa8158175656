// What choose_isa asks before it offers the AMX table.
#pragma once

namespace eggroll::cpu {

// Asks the operating system for the tile registers, for this process. False where it has none.
bool may_use_tiles();

}  // namespace eggroll::cpu
