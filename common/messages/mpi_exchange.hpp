// How the ranks of MpiCollectives exchange what they own, out of messages between two ranks each; for
// the files that call MPI. What is large is added up shard by shard: every rank sends each shard to
// its owner, who adds up, and where all need all, sends its shard back to everybody. So of the data
// 2 (size - 1) / size leave each rank, and as much comes into it, at the same time on all links; and as
// every part travels by itself, it is packed into as few bytes as its own largest sum needs. Ranks that
// share a node do so first among themselves, then each with those that have its place on other nodes.
// Open MPI's own non-blocking reductions in place come to a multiple of it: they pass the whole data up
// a tree and down again (all-reduce), or through one rank (reduce-scatter).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/messages/collectives.hpp"
#include "common/messages/mpi_calls.hpp"

namespace eggroll {

// Requests of MPI, complete when all of them are.
class MpiPending final : public Collectives::Pending {
 public:
  explicit MpiPending(std::shared_ptr<Communicator> communicator);
  // Where it is complete nothing else is moved on: what is, may be about to destroy this.
  ~MpiPending() override;

  bool test() override;
  // Of this operation alone. Drops the requests that are complete.
  bool is_complete();
  // The result of the call that started `request`, which becomes part of this operation.
  void add(int code, MPI_Request request, const char* call);

 private:
  std::shared_ptr<Communicator> communicator_;
  std::vector<MPI_Request> requests_;
  int exceptions_;
};

// Which ranks share a node, where every node has as many; else each counts as a node of its own.
// Ranks that share one add up what they have before it goes to other nodes, so a node sends and
// receives what one rank would.
struct Nodes {
  int nodes = 1, places = 1;  // on each of them
  int node = 0, place = 0;    // of this rank
  std::vector<int> ranks;     // [nodes, places]

  Nodes(std::span<const int> node_of_rank, int rank);
  int at(int on_node, int at_place) const {
    return ranks[static_cast<size_t>(on_node * places + at_place)];
  }
};

// Who exchanges what with whom; an operation keeps a copy, as it may outlive its group.
struct Exchange {
  std::shared_ptr<Communicator> communicator;
  std::shared_ptr<uint64_t> bytes_sent;
  std::shared_ptr<const Nodes> nodes;
  int rank = 0;
  int size = 1;
  size_t max_message = 0;

  // In pieces that MPI can count. The receiver, who does not know how many bytes come, awaits the
  // pieces of `room`, so as many are sent; the last may be empty.
  void send(MpiPending& pending, std::span<const std::byte> bytes, size_t room, int to,
            int tag) const;
  void receive(MpiPending& pending, std::span<std::byte> room, int from, int tag) const;
};

// What is done to the shards of all ranks: they are added up, gathered, or both.
struct ShardWork {
  bool adds = false, gathers = false;
};

// All ranks start the same work with the same tag. T is int32_t, int64_t, or int8_t,
// which is only gathered.
template <typename T>
std::unique_ptr<Collectives::Pending> start_shard_work(const Exchange& exchange, std::span<T> data,
                                                       ShardWork work, int tag);

}  // namespace eggroll
