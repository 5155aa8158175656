// Collectives of the ranks of a membership's view, out of messages between two ranks each. A
// collective operation of MPI that a lost rank has left incomplete can neither be ended nor be kept
// from writing into its buffers; a message can: each has memory of its own, which is left to the
// library where it cannot be taken back. Every wait ends with GroupBroken when the view does.
#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/mailbox.hpp"
#include "common/messages/membership.hpp"
#include "common/messages/mpi_calls.hpp"
#include "common/messages/point_to_point.hpp"

namespace eggroll {
namespace {

using namespace point_to_point;

// Of a tag: the operation, above it the number of the view; or the view alone, of mail.
constexpr int kOperationBits = 22;
constexpr int kMailBit = 1 << 30;

class PointToPointCollectives final : public Collectives {
 public:
  PointToPointCollectives(std::shared_ptr<Communicator> communicator, const Membership& membership,
                          size_t max_piece)
      : owner_(std::make_shared<Ranks>(
            Ranks{std::move(communicator), membership, membership.view().ranks, 0, max_piece, {}})),
        ranks_(*owner_),
        view_tag_(static_cast<int>(membership.view().number % 256) << kOperationBits),
        mailbox_(ranks_.communicator, kMailBit | view_tag_) {
    int me = 0;
    check_mpi(MPI_Comm_rank(ranks_.communicator->handle, &me), "MPI_Comm_rank");
    const auto found = std::ranges::find(ranks_.world, me);
    require(found != ranks_.world.end(), "this rank is in the view");
    ranks_.me = static_cast<int>(found - ranks_.world.begin());
  }

  int rank() const override { return ranks_.me; }
  int size() const override { return ranks_.size(); }
  int ranks_on_this_node() const override { return ranks_.membership.ranks_on_this_node(); }
  bool is_broken() const override { return ranks_.membership.is_broken(); }

  // Down a binomial tree: rank r has it from the rank without r's lowest bit.
  void broadcast(std::span<std::byte> data) override {
    const int tag = next_tag();
    const int lowest = rank() == 0 ? static_cast<int>(std::bit_ceil(static_cast<unsigned>(size())))
                                   : rank() & -rank();
    if (rank() != 0) receive_into(data, rank() - lowest, tag);
    Messages messages(ranks_);
    for (int bit = lowest / 2; bit > 0; bit /= 2)
      if (rank() + bit < size()) messages.add(send(data, rank() + bit, tag));
    wait(messages);
  }

  void gather(std::span<const std::byte> mine, std::span<const size_t> counts,
              std::span<std::byte> all) override {
    const int tag = next_tag();
    require(counts.size() == static_cast<size_t>(size()) &&
                counts[static_cast<size_t>(rank())] == mine.size(),
            "a slice of the size that its count says");
    Messages messages(ranks_);
    if (rank() != 0) {
      if (!mine.empty()) messages.add(send(mine, 0, tag));
      return wait(messages);
    }
    require(all.size() == std::accumulate(counts.begin(), counts.end(), size_t{0}),
            "room for all slices on rank 0");
    std::vector<const Message*> arriving(counts.size());
    for (int r = 1; r < size(); ++r)
      if (const size_t count = counts[static_cast<size_t>(r)]; count > 0)
        arriving[static_cast<size_t>(r)] = &messages.add(ranks_.receive(count, r, tag));
    wait(messages);
    std::ranges::copy(mine, all.begin());
    for (size_t r = 0, first = 0; r < counts.size(); first += counts[r++])
      if (arriving[r])
        std::ranges::copy(arriving[r]->bytes(), all.begin() + static_cast<ptrdiff_t>(first));
  }

  void scatter(std::span<const std::byte> all, std::span<const size_t> counts,
               std::span<std::byte> mine) override {
    const int tag = next_tag();
    require(counts.size() == static_cast<size_t>(size()) &&
                counts[static_cast<size_t>(rank())] == mine.size(),
            "a slice of the size that its count says");
    if (rank() != 0) {
      if (!mine.empty()) receive_into(mine, 0, tag);
      return;
    }
    Messages messages(ranks_);
    size_t first = counts[0];
    for (int r = 1; r < size(); ++r) {
      const size_t count = counts[static_cast<size_t>(r)];
      if (count > 0) messages.add(send(all.subspan(first, count), r, tag));
      first += count;
    }
    std::ranges::copy(all.first(mine.size()), mine.begin());
    wait(messages);
  }

  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    require(all.size() == mine.size() * static_cast<size_t>(size()), "all_gather of equal sizes");
    const std::vector<size_t> counts(static_cast<size_t>(size()), mine.size());
    gather(mine, counts, rank() == 0 ? all : std::span<std::byte>());
    broadcast(all);
  }

  void shift(std::span<const std::byte> mine, int distance, std::span<std::byte> arrived) override {
    const int tag = next_tag();
    const int to = (rank() + distance) % size();
    const int from = (rank() + size() - distance % size()) % size();
    Messages messages(ranks_);
    const Message& arriving = messages.add(ranks_.receive(arrived.size(), from, tag));
    messages.add(send(mine, to, tag));
    wait(messages);
    std::ranges::copy(arriving.bytes(), arrived.begin());
  }

  void barrier() override {
    std::vector<std::byte> all(static_cast<size_t>(size()));
    all_gather(std::vector<std::byte>(1), all);
  }

  void post(int to, std::span<const std::byte> mail) override {
    ranks_.check();
    mailbox_.post(ranks_.world[static_cast<size_t>(to)], mail);
    *bytes_sent_ += mail.size();
  }
  std::optional<Mail> collect() override {
    ranks_.check();
    std::optional<Mail> mail = mailbox_.collect();
    if (mail)
      mail->from =
          static_cast<int>(std::ranges::find(ranks_.world, mail->from) - ranks_.world.begin());
    return mail;
  }

  std::unique_ptr<Pending> start_all_reduce_sum(std::span<int32_t> data) override {
    return start_sum(data);
  }
  std::unique_ptr<Pending> start_all_reduce_sum(std::span<int64_t> data) override {
    return start_sum(data);
  }
  std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int32_t> data) override {
    return start_shard_sum(data);
  }
  std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int64_t> data) override {
    return start_shard_sum(data);
  }
  std::unique_ptr<Pending> start_all_gather(std::span<int8_t> data) override {
    return start_gather(data);
  }
  std::unique_ptr<Pending> start_all_gather(std::span<int32_t> data) override {
    return start_gather(data);
  }

 private:
  // Of the next operation; all ranks make the same ones in the same order.
  int next_tag() {
    ranks_.check();
    return view_tag_ | static_cast<int>(operations_++ & ((1u << kOperationBits) - 1));
  }
  std::unique_ptr<Message> send(std::span<const std::byte> bytes, int to, int tag) {
    *bytes_sent_ += bytes.size();
    return ranks_.send(bytes, to, tag);
  }
  void receive_into(std::span<std::byte> data, int from, int tag) {
    Messages messages(ranks_);
    const Message& arriving = messages.add(ranks_.receive(data.size(), from, tag));
    wait(messages);
    std::ranges::copy(arriving.bytes(), data.begin());
  }
  template <typename T>
  std::unique_ptr<Pending> start_sum(std::span<T> data) {
    *bytes_sent_ +=
        2 * data.size_bytes() * static_cast<uint64_t>(size() - 1) / static_cast<uint64_t>(size());
    return start_ring_sum(owner_, next_tag(), data);
  }
  template <typename T>
  std::unique_ptr<Pending> start_shard_sum(std::span<T> data) {
    *bytes_sent_ += data.size_bytes() - ranks_.shard(data, ranks_.me).size_bytes();
    return start_shard_work(owner_, next_tag(), data, ShardWork::sum);
  }
  template <typename T>
  std::unique_ptr<Pending> start_gather(std::span<T> data) {
    *bytes_sent_ += ranks_.shard(data, ranks_.me).size_bytes() * static_cast<uint64_t>(size() - 1);
    return start_shard_work(owner_, next_tag(), data, ShardWork::gather);
  }

  const std::shared_ptr<Ranks> owner_;
  Ranks& ranks_;
  const int view_tag_;
  Mailbox mailbox_;
  uint32_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Collectives> make_point_to_point_collectives(
    std::shared_ptr<Communicator> communicator, const Membership& membership, size_t max_message) {
  return std::make_unique<PointToPointCollectives>(std::move(communicator), membership,
                                                   max_message);
}

}  // namespace eggroll
