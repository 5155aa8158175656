// What the files that call MPI share; for them alone.
#pragma once

// The C interface only: the C++ one of old is gone from the standard, and its headers do not
// compile without warnings.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1

#include <mpi.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "common/messages/collectives.hpp"

namespace eggroll {

// Throws Error with the call, the library's text, rank and host unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

// How long an exception may be held up by operations that the other ranks might never join.
inline constexpr std::chrono::seconds kUnwindFor{2};

// An operation of several steps: where the next can be begun, advance() begins it.
class Steps {
 public:
  virtual ~Steps() = default;
  virtual void advance() = 0;
};

// Memory that the same messages need again in each generation: asking the system for it anew costs
// more than what is done with it.
class MessageMemory {
 public:
  using Block = std::unique_ptr<std::byte[]>;
  Block take(size_t bytes) {
    const auto found = spare_.find(bytes);
    if (found == spare_.end()) return std::make_unique_for_overwrite<std::byte[]>(bytes);
    return std::move(spare_.extract(found).mapped());
  }
  void give_back(size_t bytes, Block block) { spare_.emplace(bytes, std::move(block)); }

 private:
  std::multimap<size_t, Block> spare_;
};

// A communicator with its owners: the group and the operations pending on it, whichever lives longer.
struct Communicator {
  explicit Communicator(MPI_Comm owned) : handle(owned) { ++alive; }
  ~Communicator() {
    --alive;
    // With operations that never completed it is left to the end of the process.
    if (!is_abandoned) MPI_Comm_free(&handle);
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  MPI_Comm handle;
  bool is_abandoned = false;  // nobody waits on it any more
  MessageMemory memory;
  // Of all world groups; whoever waits for anything in one of them moves all on.
  static inline std::vector<Steps*> running;
  static inline int alive = 0;
};

std::unique_ptr<Collectives> make_mpi_collectives(MPI_Comm communicator, size_t max_message,
                                                  const NodeOfRank& node_of);
// The ranks of the membership's present view, on a communicator of all ranks of the world.
std::unique_ptr<Collectives> make_point_to_point_collectives(
    std::shared_ptr<Communicator> communicator, const Membership& membership, size_t max_message);

}  // namespace eggroll
