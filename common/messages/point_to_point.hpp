// What PointToPointCollectives are made of: messages between two ranks of a membership's view; for
// the files that call MPI. Each message has memory of its own, which is left to the library where
// it cannot be taken back, and every wait ends with GroupBroken when the view does.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "common/messages/collectives.hpp"
#include "common/messages/membership.hpp"
#include "common/messages/message.hpp"
#include "common/messages/mpi_calls.hpp"
#include "common/partition.hpp"

namespace eggroll::point_to_point {

// The ranks of a view, and how they exchange messages.
struct Ranks {
  std::shared_ptr<Communicator> communicator;
  const Membership& membership;
  std::vector<int> world;  // rank in the world of each rank here
  int me = 0;
  size_t max_piece = 0;
  std::vector<Steps*> running;

  int size() const { return static_cast<int>(world.size()); }
  template <typename T>
  std::span<T> shard(std::span<T> data, int owner) const {
    const Shard shard = shard_of_rank(data.size(), owner, size());
    return data.subspan(shard.first, shard.count);
  }
  // Throws GroupBroken where the view has ended.
  void check() const;
  // Everything that is under way; another rank may wait for another part of it.
  void advance();
  std::unique_ptr<Message> send(std::span<const std::byte> bytes, int to, int tag) const;
  std::unique_ptr<Message> receive(size_t size, int from, int tag) const;
};

class Messages final : public Collectives::Pending {
 public:
  explicit Messages(Ranks& ranks) : ranks_(ranks) {}
  const Message& add(std::unique_ptr<Message> message);
  bool test() override;

 private:
  Ranks& ranks_;
  std::vector<std::unique_ptr<Message>> messages_;
};

// The operations below may outlive their group, and destroyed early they wait until the others have
// their parts. T is int32_t or int64_t; int8_t is only gathered.

// Sum over all ranks, around a ring.
template <typename T>
std::unique_ptr<Collectives::Pending> start_ring_sum(std::shared_ptr<Ranks> ranks, int tag,
                                                     std::span<T> data);

// Shards change hands. sum: each goes to its owner, who adds it to its own; gather: its owner
// sends it to all.
enum class ShardWork { sum, gather };
template <typename T>
std::unique_ptr<Collectives::Pending> start_shard_work(std::shared_ptr<Ranks> ranks, int tag,
                                                       std::span<T> data, ShardWork work);

}  // namespace eggroll::point_to_point
