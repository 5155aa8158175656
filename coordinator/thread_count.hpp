// How many threads a rank uses when nobody says: the cores its node lets the job use, shared among
// the ranks there.
#pragma once

#include "common/messages/collectives.hpp"

namespace eggroll {

// Collective. Launchers that bind ranks to cores and launchers that do not come to the same: the
// union of what the node's ranks may use, divided by their number, at least one.
int usable_threads(Collectives& group);

// The cores this process may use.
int usable_cores();

}  // namespace eggroll
