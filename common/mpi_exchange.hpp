// Operations of MpiCollectives that are made of messages between two ranks each; for the files that
// call MPI. What is large is added up shard by shard: every rank sends each shard to its owner, who
// adds up, and where all need all, sends its shard back to everybody. That is 2 (size - 1) / size
// of the data out of each rank, and as much into it, at the same time on all links; and as every
// part travels by itself, it is packed into as few bytes as its own largest sum needs. Open MPI's
// own non-blocking reductions in place come to a multiple of it: they pass the whole data up a tree
// and down again (all-reduce), or through one rank (reduce-scatter).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "common/collectives.hpp"
#include "common/mpi_calls.hpp"
#include "common/packed_sums.hpp"
#include "common/partition.hpp"

namespace eggroll {

// Calls advance, which throws or says whether all is done, before the memory it works on goes; when
// an exception passes, for a moment only.
template <typename Advance>
void complete(Communicator& communicator, bool is_unwinding, Advance&& advance) noexcept {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  while (!communicator.is_abandoned) {
    try {
      if (advance()) return;
    } catch (const Error&) {
      communicator.is_abandoned = true;
    }
    const Clock::duration waited = Clock::now() - start;
    if (is_unwinding && waited > kUnwindFor) communicator.is_abandoned = true;
    pause_after(waited);
  }
}

class MpiPending final : public Collectives::Pending {
 public:
  explicit MpiPending(std::shared_ptr<Communicator> communicator)
      : communicator_(std::move(communicator)), exceptions_(std::uncaught_exceptions()) {}
  // Where it is complete nothing else is moved on: what is, may be about to destroy this.
  ~MpiPending() override {
    if (requests_.empty()) return;
    complete(*communicator_, std::uncaught_exceptions() > exceptions_, [this] { return test(); });
  }

  bool test() override {
    for (Steps* steps : communicator_->running) steps->advance();
    return is_complete();
  }
  // Of this operation alone. Drops the requests that are complete.
  bool is_complete() {
    while (!requests_.empty()) {
      int completed = 0;
      const int code = MPI_Test(&requests_.back(), &completed, MPI_STATUS_IGNORE);
      if (code != MPI_SUCCESS) communicator_->is_abandoned = true;
      check_mpi(code, "MPI_Test");
      if (!completed) return false;
      requests_.pop_back();
    }
    return true;
  }

  // The result of the call that started `request`, which becomes part of this operation.
  void add(int code, MPI_Request request, const char* call) {
    check_mpi(code, call);
    requests_.push_back(request);
  }

 private:
  std::shared_ptr<Communicator> communicator_;
  std::vector<MPI_Request> requests_;
  int exceptions_;
};

// How ranks exchange what they own; an operation keeps a copy, as it may outlive its group.
struct Exchange {
  std::shared_ptr<Communicator> communicator;
  std::shared_ptr<uint64_t> bytes_sent;
  int rank = 0;
  int size = 1;
  size_t max_message = 0;

  // In pieces that MPI can count. The receiver, who does not know how many bytes come, awaits the
  // pieces of `room`, so as many are sent; the last may be empty.
  void send(MpiPending& pending, std::span<const std::byte> bytes, size_t room, int to,
            int tag) const {
    for (size_t first = 0; first < room; first += max_message) {
      const size_t from = std::min(first, bytes.size());
      const int count = static_cast<int>(std::min(max_message, bytes.size() - from));
      MPI_Request request = MPI_REQUEST_NULL;
      const int code =
          MPI_Isend(bytes.data() + from, count, MPI_BYTE, to, tag, communicator->handle, &request);
      pending.add(code, request, "MPI_Isend");
    }
    *bytes_sent += bytes.size();
  }
  void receive(MpiPending& pending, std::span<std::byte> room, int from, int tag) const {
    for (size_t first = 0; first < room.size(); first += max_message) {
      const int count = static_cast<int>(std::min(max_message, room.size() - first));
      MPI_Request request = MPI_REQUEST_NULL;
      const int code = MPI_Irecv(room.data() + first, count, MPI_BYTE, from, tag,
                                 communicator->handle, &request);
      pending.add(code, request, "MPI_Irecv");
    }
  }

  // The ranks so far above and below this one, in a circle: not all send to the same one first.
  int above(int distance) const { return (rank + distance) % size; }
  int below(int distance) const { return (rank + size - distance) % size; }

  template <typename T>
  std::span<T> shard(std::span<T> data, int owner) const {
    const Shard shard = shard_of_rank(data.size(), owner, size);
    return data.subspan(shard.first, shard.count);
  }
};

// Each rank's shard to all, as it is.
template <typename T>
std::unique_ptr<MpiPending> gather_shards(const Exchange& exchange, std::span<T> data, int tag) {
  auto messages = std::make_unique<MpiPending>(exchange.communicator);
  for (int i = 1; i < exchange.size; ++i) {
    const int from = exchange.below(i);
    exchange.receive(*messages, bytes_of(exchange.shard(data, from)), from, tag);
  }
  const std::span<const std::byte> mine = std::as_bytes(exchange.shard(data, exchange.rank));
  for (int i = 1; i < exchange.size; ++i)
    exchange.send(*messages, mine, mine.size(), exchange.above(i), tag);
  return messages;
}

// Packed sums under way between this rank and others. Their memory is left to the library where it
// may still be at work on it.
class PackedMessages {
 public:
  // bytes: what all that is sent and received needs together, most_packed_bytes of each.
  PackedMessages(const Exchange& exchange, size_t bytes)
      : exchange_(exchange),
        bytes_(bytes),
        memory_(exchange.communicator->memory.take(bytes)),
        messages_(std::make_unique<MpiPending>(exchange.communicator)) {}
  ~PackedMessages() {
    messages_.reset();
    if (exchange_.communicator->is_abandoned)
      static_cast<void>(memory_.release());
    else
      exchange_.communicator->memory.give_back(bytes_, std::move(memory_));
  }
  PackedMessages(const PackedMessages&) = delete;
  PackedMessages& operator=(const PackedMessages&) = delete;

  template <typename T>
  void receive(size_t sums, int from, int tag) {
    arrived_.push_back(room_for<T>(sums));
    exchange_.receive(*messages_, arrived_.back(), from, tag);
  }
  template <typename T>
  void send(std::span<const T> sums, std::span<const int> ranks, int tag) {
    const std::span<std::byte> room = room_for<T>(sums.size());
    const std::span<const std::byte> packed = room.first(pack_sums(sums, room));
    for (const int to : ranks) exchange_.send(*messages_, packed, room.size(), to, tag);
  }

  MpiPending& pending() { return *messages_; }
  // In the order in which they were awaited; when all is complete.
  const std::vector<std::span<std::byte>>& arrived() const { return arrived_; }

 private:
  template <typename T>
  std::span<std::byte> room_for(size_t sums) {
    const size_t bytes = most_packed_bytes<T>(sums);
    require(used_ + bytes <= bytes_, "memory of all messages");
    const std::span<std::byte> room(memory_.get() + used_, bytes);
    used_ += bytes;
    return room;
  }

  const Exchange exchange_;
  const size_t bytes_;
  MessageMemory::Block memory_;
  size_t used_ = 0;
  std::vector<std::span<std::byte>> arrived_;
  std::unique_ptr<MpiPending> messages_;
};

// Of this rank's shard from every other rank, and of theirs; or of its own to all, and of theirs.
template <typename T>
size_t bytes_of_exchange(const Exchange& exchange, size_t sums, bool own_goes_to_all) {
  const auto others = static_cast<size_t>(exchange.size - 1);
  const size_t own = shard_of_rank(sums, exchange.rank, exchange.size).count;
  const size_t of_others = others * kPackedHeaderBytes + (sums - own) * sizeof(T);
  return of_others + (own_goes_to_all ? 1 : others) * most_packed_bytes<T>(own);
}

// This rank's shard becomes its sum over ranks: every other rank sends its part, which is added.
template <typename T>
class ShardSum final : public Collectives::Pending {
 public:
  ShardSum(const Exchange& exchange, std::span<T> data, int tag)
      : shard_(exchange.shard(data, exchange.rank)),
        messages_(std::make_unique<PackedMessages>(
            exchange, bytes_of_exchange<T>(exchange, data.size(), /*own_goes_to_all=*/false))) {
    for (int i = 1; i < exchange.size; ++i)
      messages_->receive<T>(shard_.size(), exchange.below(i), tag);
    for (int i = 1; i < exchange.size; ++i) {
      const int to = exchange.above(i);
      messages_->send(std::span<const T>(exchange.shard(data, to)), std::span(&to, 1), tag);
    }
  }

  bool test() override {
    if (!messages_) return true;
    messages_->pending().test();
    return is_complete();
  }
  bool is_complete() {
    if (!messages_) return true;
    if (!messages_->pending().is_complete()) return false;
    for (const std::span<const std::byte> part : messages_->arrived())
      add_packed_sums(part, shard_);
    messages_.reset();
    return true;
  }

 private:
  const std::span<T> shard_;
  std::unique_ptr<PackedMessages> messages_;  // until their sums are added
};

// Each rank's shard of sums, to all.
template <typename T>
class SumGather {
 public:
  SumGather(const Exchange& exchange, std::span<T> data, int tag)
      : messages_(std::make_unique<PackedMessages>(
            exchange, bytes_of_exchange<T>(exchange, data.size(), /*own_goes_to_all=*/true))) {
    std::vector<int> others;
    for (int i = 1; i < exchange.size; ++i) {
      const int from = exchange.below(i);
      shards_.push_back(exchange.shard(data, from));
      messages_->receive<T>(shards_.back().size(), from, tag);
      others.push_back(exchange.above(i));
    }
    messages_->send(std::span<const T>(exchange.shard(data, exchange.rank)), others, tag);
  }

  bool is_complete() {
    if (!messages_) return true;
    if (!messages_->pending().is_complete()) return false;
    for (size_t i = 0; i < shards_.size(); ++i) unpack_sums<T>(messages_->arrived()[i], shards_[i]);
    messages_.reset();
    return true;
  }

 private:
  std::vector<std::span<T>> shards_;          // in the order of arrived()
  std::unique_ptr<PackedMessages> messages_;  // until they are unpacked
};

// Both, one after the other; takes two tags.
template <typename T>
class AllReduceSum final : public Collectives::Pending, public Steps {
 public:
  AllReduceSum(const Exchange& exchange, std::span<T> data, int tag)
      : exchange_(exchange),
        data_(data),
        tag_(tag),
        exceptions_(std::uncaught_exceptions()),
        sum_(std::make_unique<ShardSum<T>>(exchange, data, tag)) {
    exchange_.communicator->running.push_back(this);
  }
  ~AllReduceSum() override {
    complete(*exchange_.communicator, std::uncaught_exceptions() > exceptions_,
             [this] { return test(); });
    std::erase(exchange_.communicator->running, this);
  }

  bool test() override {
    for (Steps* steps : exchange_.communicator->running) steps->advance();
    return gather_ && gather_->is_complete();
  }
  void advance() override {
    if (!sum_ || !sum_->is_complete()) return;
    sum_.reset();
    gather_ = std::make_unique<SumGather<T>>(exchange_, data_, tag_ + 1);
  }

 private:
  const Exchange exchange_;
  const std::span<T> data_;
  const int tag_;
  const int exceptions_;
  std::unique_ptr<ShardSum<T>> sum_;      // first
  std::unique_ptr<SumGather<T>> gather_;  // then
};

}  // namespace eggroll
