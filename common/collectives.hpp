// The few messages of a run. Every call is collective over the current group; a waiting rank polls and sleeps, so it costs
// no core that another rank could use. The group behind the seam can be replaced between generations (fewer ranks after a loss)
// without the callers noticing more than rank() and size().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace eggroll {

class Collectives {
 public:
  // A running operation; its buffer stays untouched until wait() or a true test().
  class Pending {
   public:
    virtual ~Pending() = default;
    virtual bool test() = 0;  // drives progress; true once complete
  };

  virtual ~Collectives() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int ranks_on_this_node() const = 0;

  // Rank 0's bytes to all.
  virtual void broadcast(std::span<std::byte> data) = 0;
  // Each rank's bytes to rank 0, in rank order; counts[r] bytes come from rank r (known to all). all: rank 0 only.
  virtual void gather(std::span<const std::byte> mine, std::span<const size_t> counts, std::span<std::byte> all) = 0;
  // The reverse.
  virtual void scatter(std::span<const std::byte> all, std::span<const size_t> counts, std::span<std::byte> mine) = 0;
  // The same number of bytes of each rank to every rank.
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
  virtual void barrier() = 0;

  // In-place element-wise sums over ranks.
  virtual std::unique_ptr<Pending> start_all_reduce_sum(std::span<int32_t> data) = 0;
  virtual std::unique_ptr<Pending> start_all_reduce_sum(std::span<int64_t> data) = 0;
  // Polls with growing sleeps until complete.
  static void wait(Pending& pending);

  uint64_t bytes_sent() const { return bytes_sent_; }  // payload this rank has sent, as the algorithm counts it

 protected:
  uint64_t bytes_sent_ = 0;
};

// Views of one value or of a contiguous range as bytes.
template <typename T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

// MPI for the life of this object: initialised (funneled), errors returned and thrown, finalised. The world may be one process
// without a launcher.
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  std::unique_ptr<Collectives> world() const;
  // Ends every rank with this exit code; does not return.
  [[noreturn]] void abort(int code) const;
};

std::string host_name();

}  // namespace eggroll
