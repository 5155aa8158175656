// Who of a run's ranks is still there. Every rank holds a TCP connection, beside MPI, to a leader:
// the lowest rank left. A process that ends closes its connections at once, so its death is known
// within milliseconds, whatever it was doing and whatever MPI makes of it; a host or link that is
// gone shows by silence. A view is the list of ranks that work together. When it no longer holds,
// the ranks that are left agree on the next one, and each hears what all the others have to say.
//
// The end of the work together is a view too: a rank that leaves without agree_at_end() is a lost
// one to those that still wait for something.
//
// A thread of its own keeps the connections; it makes no call to MPI. No view without a majority of the
// last one (of those not known to have ended): of a cluster cut in two at most one part goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/messages/collectives.hpp"
#include "common/messages/view.hpp"

namespace eggroll {

class Membership {
 public:
  // Collective over all ranks, which are view 0. silence_s: after so many seconds without a sign a rank
  // counts as lost. Throws the same ConfigError on every rank where they cannot reach each other.
  Membership(Collectives& world, double silence_s);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  const View& view() const;  // the present one; changes in agree() only
  // True as soon as the view no longer holds: one of its ranks is lost, or one has called agree().
  // Nothing is to be expected from messages any more, and agree() is what remains. Any thread.
  bool is_broken() const;
  // Ends the view: waits until every rank of it that is left has called this, and returns the next
  // one with the proposal of all. Throws Error when this rank is shut out, as the others took it for
  // lost, or when too few are left.
  const View& agree(std::string proposal);
  // The same for a rank that needs nothing more of this view: the others work on in it, until they
  // are done too, or until a rank is lost or calls agree().
  const View& agree_at_end(std::string proposal);

  int ranks_on_this_node() const;  // of the view

 private:
  class Service;
  std::unique_ptr<Service> service_;
};

}  // namespace eggroll
