// A run that goes on when ranks are lost (--survive). Whatever happens on a rank, the end of the
// run, an error or a broken group, becomes its proposal, and the ranks that are left agree on what
// follows: the end, the error, or the newest buddy checkpoint that all of them hold, from which they go
// on with the pairs shared out anew.
#pragma once

#include <functional>

#include "common/messages/collectives.hpp"
#include "common/messages/membership.hpp"
#include "coordinator/run.hpp"

namespace eggroll {

// `survive` needs a launcher that lets a job go on without a rank. Throws ConfigError where the
// environment says that this one does not.
void check_launcher_lets_survive(int ranks);

// Runs prepare(group), the generations, and conclude() on the rank that keeps the records, which
// says what the run has failed in, if in anything. No rank leaves before that has been done: one
// that is lost in the middle of it is replaced. The exit code, the same on every rank; errors are
// said by one of them. Throws Error when this rank is shut out by the others.
int run_with_survivors(Run& run, MpiSession& session, Membership& membership,
                       const std::function<void(Collectives&)>& prepare,
                       const std::function<std::string()>& conclude);

}  // namespace eggroll
