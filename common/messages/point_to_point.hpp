// Operations of PointToPointCollectives, out of messages between two ranks of a membership's view;
// for the files that call MPI. Each message has memory of its own, which is left to the library
// where it cannot be taken back, and every wait ends with GroupBroken when the view does.
#pragma once

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/membership.hpp"
#include "common/messages/message.hpp"
#include "common/messages/mpi_calls.hpp"
#include "common/partition.hpp"

namespace eggroll::point_to_point {

using Clock = std::chrono::steady_clock;

// The ranks of a view, and how they exchange messages.
struct Ranks {
  std::shared_ptr<Communicator> communicator;
  const Membership& membership;
  std::vector<int> world;  // rank in the world of each rank here
  int me = 0;
  size_t max_piece = 0;
  std::vector<Steps*> running;

  int size() const { return static_cast<int>(world.size()); }
  void check() const {
    if (!membership.is_broken()) return;
    communicator->is_abandoned = true;
    throw GroupBroken("a rank is lost, or has ended the work together");
  }
  // Everything that is under way; another rank may wait for another part of it.
  void advance() {
    check();
    for (Steps* steps : running) steps->advance();
  }
  std::unique_ptr<Message> send(std::span<const std::byte> bytes, int to, int tag) const {
    auto message = std::make_unique<Message>(bytes.size(), max_piece);
    message->send(bytes, world[static_cast<size_t>(to)], tag, communicator->handle);
    return message;
  }
  std::unique_ptr<Message> receive(size_t size, int from, int tag) const {
    auto message = std::make_unique<Message>(size, max_piece);
    message->receive(world[static_cast<size_t>(from)], tag, communicator->handle);
    return message;
  }
};

// Before an operation goes, as others wait for its parts, unless that is in vain; when an exception
// passes, for a moment only.
template <typename IsComplete>
void complete(Ranks& ranks, int exceptions, IsComplete&& is_complete) noexcept {
  const bool is_unwinding = std::uncaught_exceptions() > exceptions;
  const Clock::time_point start = Clock::now();
  try {
    while (!is_complete() && !ranks.membership.is_broken()) {
      const Clock::duration waited = Clock::now() - start;
      if (is_unwinding && waited > kUnwindFor) break;
      ranks.advance();
      pause_after(waited);
    }
  } catch (const Error&) {
  }
}

class Messages final : public Collectives::Pending {
 public:
  explicit Messages(Ranks& ranks) : ranks_(ranks) {}
  const Message& add(std::unique_ptr<Message> message) {
    messages_.push_back(std::move(message));
    return *messages_.back();
  }
  bool test() override {
    ranks_.advance();
    return std::ranges::all_of(messages_, [](const auto& m) { return m->is_complete(); });
  }

 private:
  Ranks& ranks_;
  std::vector<std::unique_ptr<Message>> messages_;
};

// Sum over all ranks, around a ring: first every rank gathers the sum of one part, passed on and
// added to size - 1 times, then the finished parts go round. 2 (size - 1) / size of the data leave
// each rank. Sums of integers, so the order does not matter.
template <typename T>
class RingSum final : public Collectives::Pending, public Steps {
 public:
  RingSum(std::shared_ptr<Ranks> ranks, int tag, std::span<T> data)
      : owner_(std::move(ranks)),
        ranks_(*owner_),
        tag_(tag),
        data_(data),
        exceptions_(std::uncaught_exceptions()) {
    ranks_.running.push_back(this);
    start_step();
  }
  // Completes it, as the others wait for its parts.
  ~RingSum() override {
    complete(ranks_, exceptions_, [this] { return is_complete(); });
    std::erase(ranks_.running, this);
  }

  bool test() override {
    if (is_complete()) return true;
    ranks_.advance();
    return is_complete();
  }
  void advance() override {
    while (!is_complete() && sent_->is_complete() && received_->is_complete()) {
      take();
      ++step_;
      start_step();
    }
  }

 private:
  bool is_complete() const { return step_ == steps(); }
  int steps() const { return 2 * (ranks_.size() - 1); }
  bool is_adding() const { return step_ < ranks_.size() - 1; }
  std::span<T> part(int index) const {
    const auto n = static_cast<size_t>(ranks_.size());
    const size_t i = static_cast<size_t>((index % ranks_.size() + ranks_.size()) % ranks_.size());
    const size_t first = data_.size() * i / n;
    return data_.subspan(first, data_.size() * (i + 1) / n - first);
  }
  // In the second half every rank begins with the part that it has just finished.
  std::span<T> leaving() const {
    return part(ranks_.me - step_ + (is_adding() ? 0 : ranks_.size()));
  }
  std::span<T> arriving() const {
    return part(ranks_.me - 1 - step_ + (is_adding() ? 0 : ranks_.size()));
  }
  void start_step() {
    if (is_complete()) return;
    const int next = (ranks_.me + 1) % ranks_.size();
    const int previous = (ranks_.me + ranks_.size() - 1) % ranks_.size();
    received_ = ranks_.receive(arriving().size_bytes(), previous, tag_);
    sent_ = ranks_.send(std::as_bytes(leaving()), next, tag_);
  }
  void take() {
    const std::span<T> to = arriving();
    if (!is_adding()) {
      std::ranges::copy(received_->bytes(), std::as_writable_bytes(to).begin());
      return;
    }
    const T* from = reinterpret_cast<const T*>(received_->bytes().data());
    for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  }

  const std::shared_ptr<Ranks> owner_;  // an operation may outlive its group
  Ranks& ranks_;
  const int tag_;
  const std::span<T> data_;
  const int exceptions_;
  int step_ = 0;
  std::unique_ptr<Message> sent_, received_;
};

template <typename T>
std::span<T> shard_of(const Ranks& ranks, std::span<T> data, int rank) {
  const Shard shard = shard_of_rank(data.size(), rank, ranks.size());
  return data.subspan(shard.first, shard.count);
}

// Shards change hands. sum: each goes to its owner, who adds it to its own; gather: its owner sends
// it to all.
template <typename T>
class ShardExchange final : public Collectives::Pending {
 public:
  enum class Kind { sum, gather };
  ShardExchange(std::shared_ptr<Ranks> ranks, int tag, std::span<T> data, Kind kind)
      : owner_(std::move(ranks)),
        ranks_(*owner_),
        data_(data),
        kind_(kind),
        exceptions_(std::uncaught_exceptions()),
        messages_(ranks_) {
    const std::span<T> mine = shard_of(ranks_, data_, ranks_.me);
    for (int i = 1; i < ranks_.size(); ++i) {
      const int from = (ranks_.me + ranks_.size() - i) % ranks_.size();
      arriving_.push_back(&messages_.add(ranks_.receive(target(from).size_bytes(), from, tag)));
    }
    for (int i = 1; i < ranks_.size(); ++i) {
      const int to = (ranks_.me + i) % ranks_.size();
      const std::span<T> leaving = kind == Kind::sum ? shard_of(ranks_, data_, to) : mine;
      messages_.add(ranks_.send(std::as_bytes(leaving), to, tag));
    }
  }

  ~ShardExchange() override {
    complete(ranks_, exceptions_, [this] { return test(); });
  }

  bool test() override {
    if (is_taken_) return true;
    if (!messages_.test()) return false;
    for (int i = 1; i < ranks_.size(); ++i) {
      const std::span<T> to = target((ranks_.me + ranks_.size() - i) % ranks_.size());
      const Message& message = *arriving_[static_cast<size_t>(i - 1)];
      if (kind_ == Kind::gather) {
        std::ranges::copy(message.bytes(), std::as_writable_bytes(to).begin());
        continue;
      }
      const T* from = reinterpret_cast<const T*>(message.bytes().data());
      for (size_t k = 0; k < to.size(); ++k) to[k] += from[k];
    }
    return is_taken_ = true;
  }

 private:
  // Where what comes from this rank goes.
  std::span<T> target(int from) const {
    return shard_of(ranks_, data_, kind_ == Kind::sum ? ranks_.me : from);
  }

  const std::shared_ptr<Ranks> owner_;  // an operation may outlive its group
  Ranks& ranks_;
  const std::span<T> data_;
  const Kind kind_;
  const int exceptions_;
  Messages messages_;
  std::vector<const Message*> arriving_;
  bool is_taken_ = false;
};

}  // namespace eggroll::point_to_point
