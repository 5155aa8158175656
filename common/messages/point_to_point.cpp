#include "common/messages/point_to_point.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "common/check.hpp"

namespace eggroll::point_to_point {

namespace {

using Clock = std::chrono::steady_clock;

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
class ShardExchange final : public Collectives::Pending {
 public:
  ShardExchange(std::shared_ptr<Ranks> ranks, int tag, std::span<T> data, ShardWork work)
      : owner_(std::move(ranks)),
        ranks_(*owner_),
        data_(data),
        work_(work),
        exceptions_(std::uncaught_exceptions()),
        messages_(ranks_) {
    const std::span<T> mine = ranks_.shard(data_, ranks_.me);
    for (int i = 1; i < ranks_.size(); ++i) {
      const int from = (ranks_.me + ranks_.size() - i) % ranks_.size();
      arriving_.push_back(&messages_.add(ranks_.receive(target(from).size_bytes(), from, tag)));
    }
    for (int i = 1; i < ranks_.size(); ++i) {
      const int to = (ranks_.me + i) % ranks_.size();
      const std::span<T> leaving = work == ShardWork::sum ? ranks_.shard(data_, to) : mine;
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
      if (work_ == ShardWork::gather) {
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
    return ranks_.shard(data_, work_ == ShardWork::sum ? ranks_.me : from);
  }

  const std::shared_ptr<Ranks> owner_;  // an operation may outlive its group
  Ranks& ranks_;
  const std::span<T> data_;
  const ShardWork work_;
  const int exceptions_;
  Messages messages_;
  std::vector<const Message*> arriving_;
  bool is_taken_ = false;
};

}  // namespace

void Ranks::check() const {
  if (!membership.is_broken()) return;
  communicator->is_abandoned = true;
  throw GroupBroken("a rank is lost, or has ended the work together");
}

void Ranks::advance() {
  check();
  for (Steps* steps : running) steps->advance();
}

std::unique_ptr<Message> Ranks::send(std::span<const std::byte> bytes, int to, int tag) const {
  auto message = std::make_unique<Message>(bytes.size(), max_piece);
  message->send(bytes, world[static_cast<size_t>(to)], tag, communicator->handle);
  return message;
}

std::unique_ptr<Message> Ranks::receive(size_t size, int from, int tag) const {
  auto message = std::make_unique<Message>(size, max_piece);
  message->receive(world[static_cast<size_t>(from)], tag, communicator->handle);
  return message;
}

const Message& Messages::add(std::unique_ptr<Message> message) {
  messages_.push_back(std::move(message));
  return *messages_.back();
}

bool Messages::test() {
  ranks_.advance();
  return std::ranges::all_of(messages_, [](const auto& m) { return m->is_complete(); });
}

template <typename T>
std::unique_ptr<Collectives::Pending> start_ring_sum(std::shared_ptr<Ranks> ranks, int tag,
                                                     std::span<T> data) {
  return std::make_unique<RingSum<T>>(std::move(ranks), tag, data);
}

template <typename T>
std::unique_ptr<Collectives::Pending> start_shard_work(std::shared_ptr<Ranks> ranks, int tag,
                                                       std::span<T> data, ShardWork work) {
  return std::make_unique<ShardExchange<T>>(std::move(ranks), tag, data, work);
}

using Pending = std::unique_ptr<Collectives::Pending>;
using SharedRanks = std::shared_ptr<Ranks>;
template Pending start_ring_sum(SharedRanks, int, std::span<int32_t>);
template Pending start_ring_sum(SharedRanks, int, std::span<int64_t>);
template Pending start_shard_work(SharedRanks, int, std::span<int8_t>, ShardWork);
template Pending start_shard_work(SharedRanks, int, std::span<int32_t>, ShardWork);
template Pending start_shard_work(SharedRanks, int, std::span<int64_t>, ShardWork);

}  // namespace eggroll::point_to_point
