// The few messages of a run, in host memory. Every call is collective: all ranks of the group make the
// same calls with the same sizes in the same order, also while all-reduces are pending. A waiting rank
// polls and sleeps, so it costs no core that another rank could use. The main thread alone calls.
//
// Calls throw Error when the group cannot complete them; after that the group is of no more use.
// Callers ask rank() and size() anew each generation: another group (fewer ranks after a loss) may
// then stand here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "common/check.hpp"

namespace eggroll {

class Membership;
struct Communicator;

inline constexpr size_t kMailBytes = 1 << 20;

// A number for the node that a rank is on.
using NodeOfRank = std::function<int(int rank)>;

// Thrown by the calls of a group whose ranks are no longer all there, where there is a way to go on
// without them (Membership).
class GroupBroken : public Error {
 public:
  using Error::Error;
};

// For a loop that waits: yields at first, then sleeps longer and longer.
void pause_after(std::chrono::steady_clock::duration waited);

// From one rank to another, beside the collectives.
struct Mail {
  int from = 0;
  std::vector<std::byte> bytes;
};

class Collectives {
 public:
  // A running operation; its buffer stays in place and untouched until wait() or a true test().
  // Destroying it completes it first, as it would otherwise write into memory that is gone; when an
  // exception passes, it tries for a moment only.
  class Pending {
   public:
    virtual ~Pending() = default;
    // True once complete. Drives the progress of all pending operations, so a rank that computes
    // meanwhile calls it now and then.
    virtual bool test() = 0;
  };

  virtual ~Collectives() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int ranks_on_this_node() const = 0;
  // True once the group is broken: every further call throws GroupBroken, so work for it is in
  // vain. Any thread may ask.
  virtual bool is_broken() const { return false; }

  // Rank 0's bytes to all.
  virtual void broadcast(std::span<std::byte> data) = 0;
  // Each rank's bytes to rank 0, in rank order; counts[r] bytes come from rank r (known to all).
  // all: rank 0 only.
  virtual void gather(std::span<const std::byte> mine, std::span<const size_t> counts,
                      std::span<std::byte> all) = 0;
  // The reverse.
  virtual void scatter(std::span<const std::byte> all, std::span<const size_t> counts,
                       std::span<std::byte> mine) = 0;
  // The same number of bytes of each rank to every rank, in rank order.
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  // Each rank's bytes to the rank `distance` above it, in a circle; their sizes are known to both.
  virtual void shift(std::span<const std::byte> mine, int distance,
                     std::span<std::byte> arrived) = 0;
  virtual void barrier() = 0;

  // Mail is not collective: any rank posts it to any other, and it need not be awaited. Between two
  // ranks it arrives in order. At most kMailBytes each.
  virtual void post(int to, std::span<const std::byte> mail) = 0;
  // The next one that has arrived here; nothing where none has.
  virtual std::optional<Mail> collect() = 0;

  // In-place element-wise sums over ranks. That they fit is for the caller to know. Any number may
  // be pending, and they may be completed in any order.
  virtual std::unique_ptr<Pending> start_all_reduce_sum(std::span<int32_t> data) = 0;
  virtual std::unique_ptr<Pending> start_all_reduce_sum(std::span<int64_t> data) = 0;
  // The same for this rank's shard alone (shard_of_rank); what lies beside it is of no use then.
  virtual std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int32_t> data) = 0;
  virtual std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int64_t> data) = 0;
  // In place: each rank's shard, to all.
  virtual std::unique_ptr<Pending> start_all_gather(std::span<int8_t> data) = 0;
  virtual std::unique_ptr<Pending> start_all_gather(std::span<int32_t> data) = 0;
  // Polls with growing sleeps until complete.
  static void wait(Pending& pending);

  // Payload this rank has sent: of sums what they are packed into, or, where they are not,
  // 2 (size - 1) / size of their bytes; of a gather to all size - 1 times this rank's part. What the
  // library really sends may be more.
  uint64_t bytes_sent() const { return *bytes_sent_; }
  // Counts what goes to the ranks of this group by another way than its own calls.
  void count_sent(uint64_t bytes) { *bytes_sent_ += bytes; }

 protected:
  // Shared with operations, which may outlive their group.
  const std::shared_ptr<uint64_t> bytes_sent_ = std::make_shared<uint64_t>(0);
};

// MPI for the life of this object, one a process: initialised (funneled), errors returned and
// thrown, SIGPIPE ignored (a send to a dead peer over TCP would end the sender), finalised. The
// world may be one process without a launcher. Belongs outside main's try block: when an exception
// leaves its scope it ends every rank, as the others may wait for this one.
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  // All ranks; collective. Every group and its pending operations are destroyed before the session
  // is. A call longer than max_message elements travels as several messages: MPI counts in int.
  // Where ranks share nodes, sums go by way of them; node_of says so otherwise than MPI does.
  std::unique_ptr<Collectives> world(size_t max_message = size_t{1} << 30,
                                     const NodeOfRank& node_of = {}) const;
  // The ranks of the membership's present view, by messages from rank to rank, none of which waits
  // for a rank that is lost: its calls throw GroupBroken instead. The first call is collective over
  // the world.
  std::unique_ptr<Collectives> group_of(const Membership& membership,
                                        size_t max_message = size_t{1} << 26);
  int world_rank() const;
  // What this process will return, for the case that MPI cannot be finalised: after the loss of a
  // rank the launcher may wait for it in vain. Then the process ends with this code by itself.
  int ends_with(int code) { return exit_code_ = code; }
  // Ends every rank with this exit code; does not return.
  [[noreturn]] void abort(int code) const;

 private:
  std::shared_ptr<Communicator> between_ranks_;  // of group_of
  int exit_code_ = 0;
};

std::string host_name();

std::string mpi_library();  // as it runs: "Open MPI v4.1.4"; any time, before MPI starts too

// Views of one value or of a contiguous range as bytes; writable where the elements are.
template <typename T>
auto as_byte_span(std::span<T> elements) {
  static_assert(std::is_trivially_copyable_v<T>);
  if constexpr (std::is_const_v<T>) {
    return std::as_bytes(elements);
  } else {
    return std::as_writable_bytes(elements);
  }
}

template <typename T>
requires(!std::ranges::range<T>) auto bytes_of(T& value) {
  return as_byte_span(std::span(&value, 1));
}

template <std::ranges::contiguous_range Range>
requires std::ranges::borrowed_range<Range>
auto bytes_of(Range&& range) {
  return as_byte_span(std::span(std::ranges::data(range), std::ranges::size(range)));
}

}  // namespace eggroll
