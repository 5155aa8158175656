// A run that goes on when ranks are lost (--survive). Whatever happens on a rank, the end of the
// run, an error or a broken group, is put into words, and the ranks that are left agree on what
// follows: the end, the error, or the newest guard that all of them hold, from which they go on
// with the pairs shared out anew.
#pragma once

#include <functional>

#include "common/collectives.hpp"
#include "common/membership.hpp"
#include "coordinator/run.hpp"

namespace eggroll {

// `survive` needs a launcher that lets a job go on without a rank. Throws ConfigError where the
// environment says that this one does not.
void check_launcher_lets_survive(int ranks);

struct SurvivedRun {
  bool leads = false;  // this rank is rank 0 of those that came to the end
  int exit_code = 0;
};

// Runs prepare(group) and then the generations. Errors are said by one rank, and end all with one
// code. Throws Error when this rank is shut out by the others.
SurvivedRun run_with_survivors(Run& run, MpiSession& session, Membership& membership,
                               const std::function<void(Collectives&)>& prepare);

}  // namespace eggroll
