// Operations of MpiCollectives that are made of messages between two ranks each; for the files that
// call MPI. What is large is added up shard by shard: every rank sends each shard to its owner, who
// adds up, and where all need all, sends its shard back to everybody. That is 2 (size - 1) / size
// of the data out of each rank, and as much into it, at the same time on all links. Open MPI's own
// non-blocking reductions in place come to a multiple of it: they pass the whole data up a tree and
// down again (all-reduce), or through one rank (reduce-scatter).
#pragma once

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "common/collectives.hpp"
#include "common/mpi_calls.hpp"
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
  ~MpiPending() override {
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
  int rank = 0;
  int size = 1;
  size_t max_message = 0;

  // In pieces that MPI can count.
  void send(MpiPending& pending, std::span<const std::byte> bytes, int to, int tag) const {
    for (size_t first = 0; first < bytes.size(); first += max_message) {
      const int count = static_cast<int>(std::min(max_message, bytes.size() - first));
      MPI_Request request = MPI_REQUEST_NULL;
      const int code =
          MPI_Isend(bytes.data() + first, count, MPI_BYTE, to, tag, communicator->handle, &request);
      pending.add(code, request, "MPI_Isend");
    }
  }
  void receive(MpiPending& pending, std::span<std::byte> bytes, int from, int tag) const {
    for (size_t first = 0; first < bytes.size(); first += max_message) {
      const int count = static_cast<int>(std::min(max_message, bytes.size() - first));
      MPI_Request request = MPI_REQUEST_NULL;
      const int code = MPI_Irecv(bytes.data() + first, count, MPI_BYTE, from, tag,
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
  template <typename T>
  std::span<T> own_shard(std::span<T> data) const {
    return shard(data, rank);
  }
};

// This rank's shard, and as many elements from each other rank that are added to it. Their memory
// is left to the library where it may still write into it.
template <typename T>
class ShardSum final : public Collectives::Pending {
 public:
  ShardSum(const Exchange& exchange, std::span<T> data, int tag)
      : shard_(exchange.own_shard(data)),
        others_(static_cast<size_t>(exchange.size - 1)),
        communicator_(exchange.communicator),
        arriving_(std::make_unique_for_overwrite<T[]>(others_ * shard_.size())),
        messages_(std::make_unique<MpiPending>(communicator_)) {
    for (int i = 1; i < exchange.size; ++i)
      exchange.receive(*messages_, bytes_of(part(static_cast<size_t>(i - 1))), exchange.below(i),
                       tag);
    for (int i = 1; i < exchange.size; ++i) {
      const int to = exchange.above(i);
      exchange.send(*messages_, std::as_bytes(exchange.shard(data, to)), to, tag);
    }
  }
  ~ShardSum() override {
    messages_.reset();
    if (communicator_->is_abandoned) static_cast<void>(arriving_.release());
  }

  bool test() override {
    messages_->test();
    return is_complete();
  }
  bool is_complete() {
    if (!messages_->is_complete()) return false;
    for (; others_ > 0; --others_) {
      const std::span<const T> from = part(others_ - 1);
      for (size_t i = 0; i < shard_.size(); ++i) shard_[i] += from[i];
    }
    arriving_.reset();
    return true;
  }

 private:
  std::span<T> part(size_t i) { return {arriving_.get() + i * shard_.size(), shard_.size()}; }

  std::span<T> shard_;
  size_t others_;  // whose parts are still to be added
  std::shared_ptr<Communicator> communicator_;
  std::unique_ptr<T[]> arriving_;
  std::unique_ptr<MpiPending> messages_;
};

template <typename T>
std::unique_ptr<MpiPending> gather_shards(const Exchange& exchange, std::span<T> data, int tag) {
  auto messages = std::make_unique<MpiPending>(exchange.communicator);
  for (int i = 1; i < exchange.size; ++i) {
    const int from = exchange.below(i);
    exchange.receive(*messages, bytes_of(exchange.shard(data, from)), from, tag);
  }
  for (int i = 1; i < exchange.size; ++i)
    exchange.send(*messages, std::as_bytes(exchange.own_shard(data)), exchange.above(i), tag);
  return messages;
}

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
    gather_ = gather_shards(exchange_, data_, tag_ + 1);
  }

 private:
  const Exchange exchange_;
  const std::span<T> data_;
  const int tag_;
  const int exceptions_;
  std::unique_ptr<ShardSum<T>> sum_;    // first
  std::unique_ptr<MpiPending> gather_;  // then
};

}  // namespace eggroll
