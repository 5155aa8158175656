// Collectives over MPI in host memory. Only non-blocking operations are used, as Open MPI burns a
// core inside a blocking one; the exception is the set-up of a group.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/mailbox.hpp"
#include "common/messages/mpi_calls.hpp"
#include "common/messages/mpi_exchange.hpp"

namespace eggroll {

namespace {

enum : int { kShiftTag, kMailTag, kFirstExchangeTag };
// Exchanges that run at a time have tags of their own, as ranks need not come to their phases in
// the same order.
constexpr uint32_t kExchangeTags = 16384;  // MPI promises tags up to 32767
// Where shards are smaller, the fewer messages of MPI's own all-reduce cost less.
constexpr size_t kSmallestShardBytes = 256;

// The part of each rank's slice that lies in bytes [first, first + length) of all slices in rank
// order, as MPI wants it.
struct Window {
  std::vector<int> counts;
  std::vector<int> displacements;

  Window(std::span<const size_t> slices, size_t first, size_t length) {
    size_t start = 0;
    for (const size_t slice : slices) {
      const size_t from = std::clamp(start, first, first + length);
      const size_t to = std::clamp(start + slice, first, first + length);
      counts.push_back(static_cast<int>(to - from));
      displacements.push_back(static_cast<int>(from - first));
      start += slice;
    }
  }
};

class MpiCollectives final : public Collectives {
 public:
  // Owns the communicator from here on. Whatever made it is no concern of this class: a duplicate
  // of the world, or later one over the ranks that are left.
  MpiCollectives(MPI_Comm communicator, size_t max_message, const NodeOfRank& node_of)
      : communicator_(std::make_shared<Communicator>(communicator)),
        max_message_(max_message),
        mailbox_(communicator_, kMailTag) {
    check_mpi(MPI_Comm_set_errhandler(communicator, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(communicator, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(communicator, &size_), "MPI_Comm_size");
    MPI_Comm node = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(communicator, MPI_COMM_TYPE_SHARED, /*key=*/rank_, MPI_INFO_NULL,
                                  &node),
              "MPI_Comm_split_type");
    const int code = MPI_Comm_size(node, &ranks_on_this_node_);
    int mine = rank_;  // a node is called by its lowest rank
    MPI_Bcast(&mine, 1, MPI_INT, /*root=*/0, node);
    MPI_Comm_free(&node);
    check_mpi(code, "MPI_Comm_size");
    if (node_of) mine = node_of(rank_);
    std::vector<int> node_of_rank(static_cast<size_t>(size_));
    check_mpi(MPI_Allgather(&mine, 1, MPI_INT, node_of_rank.data(), 1, MPI_INT, communicator),
              "MPI_Allgather");
    nodes_ = std::make_shared<const Nodes>(node_of_rank, rank_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int ranks_on_this_node() const override { return ranks_on_this_node_; }

  void broadcast(std::span<std::byte> data) override {
    if (size_ == 1) return;
    broadcast_from(0, data);
    if (rank_ == 0) *bytes_sent_ += data.size() * others();
  }

  void gather(std::span<const std::byte> mine, std::span<const size_t> counts,
              std::span<std::byte> all) override {
    const Slices slices = check_slices(counts, mine.size(), all.size());
    if (size_ == 1) return copy(mine, all);
    for (size_t first = 0; first < slices.total; first += max_message_) {
      const Window window(counts, first, max_message_);
      MPI_Request request = MPI_REQUEST_NULL;
      const int code = MPI_Igatherv(sent_in(mine, slices.mine_from, first), window.counts[rank_],
                                    MPI_BYTE, rank_ == 0 ? all.data() + first : nullptr,
                                    window.counts.data(), window.displacements.data(), MPI_BYTE,
                                    /*root=*/0, communicator_->handle, &request);
      finish(code, request, "MPI_Igatherv");
    }
    if (rank_ != 0) *bytes_sent_ += mine.size();
  }

  void scatter(std::span<const std::byte> all, std::span<const size_t> counts,
               std::span<std::byte> mine) override {
    const Slices slices = check_slices(counts, mine.size(), all.size());
    if (size_ == 1) return copy(all, mine);
    for (size_t first = 0; first < slices.total; first += max_message_) {
      const Window window(counts, first, max_message_);
      MPI_Request request = MPI_REQUEST_NULL;
      const int code = MPI_Iscatterv(rank_ == 0 ? all.data() + first : nullptr,
                                     window.counts.data(), window.displacements.data(), MPI_BYTE,
                                     sent_in(mine, slices.mine_from, first), window.counts[rank_],
                                     MPI_BYTE, /*root=*/0, communicator_->handle, &request);
      finish(code, request, "MPI_Iscatterv");
    }
    if (rank_ == 0) *bytes_sent_ += all.size() - mine.size();
  }

  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    require(all.size() == mine.size() * static_cast<size_t>(size_), "all_gather of equal sizes");
    if (size_ == 1) return copy(mine, all);
    if (mine.size() <= max_message_) {
      const int count = static_cast<int>(mine.size());
      MPI_Request request = MPI_REQUEST_NULL;
      const int code = MPI_Iallgather(mine.data(), count, MPI_BYTE, all.data(), count, MPI_BYTE,
                                      communicator_->handle, &request);
      finish(code, request, "MPI_Iallgather");
    } else {
      // In several messages the parts of a rank would not lie one after another.
      copy(mine, all.subspan(mine.size() * rank_, mine.size()));
      for (int root = 0; root < size_; ++root)
        broadcast_from(root, all.subspan(mine.size() * root, mine.size()));
    }
    *bytes_sent_ += mine.size() * others();
  }

  void shift(std::span<const std::byte> mine, int distance, std::span<std::byte> arrived) override {
    const int to = (rank_ + distance) % size_, from = (rank_ + size_ - distance % size_) % size_;
    if (to == rank_) return copy(mine, arrived);
    MpiPending pending(communicator_);
    exchange().receive(pending, arrived, from, kShiftTag);
    exchange().send(pending, mine, mine.size(), to, kShiftTag);
    wait(pending);
  }

  void barrier() override {
    if (size_ == 1) return;
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Ibarrier(communicator_->handle, &request);
    finish(code, request, "MPI_Ibarrier");
  }

  void post(int to, std::span<const std::byte> mail) override {
    mailbox_.post(to, mail);
    *bytes_sent_ += mail.size();
  }
  std::optional<Mail> collect() override { return mailbox_.collect(); }

  std::unique_ptr<Pending> start_all_reduce_sum(std::span<int32_t> data) override {
    return start_sum(data, MPI_INT32_T);
  }
  std::unique_ptr<Pending> start_all_reduce_sum(std::span<int64_t> data) override {
    return start_sum(data, MPI_INT64_T);
  }
  std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int32_t> data) override {
    return start(data, {.adds = true});
  }
  std::unique_ptr<Pending> start_reduce_scatter_sum(std::span<int64_t> data) override {
    return start(data, {.adds = true});
  }
  std::unique_ptr<Pending> start_all_gather(std::span<int8_t> data) override {
    return start(data, {.gathers = true});
  }
  std::unique_ptr<Pending> start_all_gather(std::span<int32_t> data) override {
    return start(data, {.gathers = true});
  }

 private:
  struct Slices {
    size_t total = 0;
    size_t mine_from = 0;  // where this rank's slice begins
  };

  uint64_t others() const { return static_cast<uint64_t>(size_ - 1); }

  static void copy(std::span<const std::byte> from, std::span<std::byte> to) {
    if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
  }

  Slices check_slices(std::span<const size_t> counts, size_t mine, size_t all) const {
    require(counts.size() == static_cast<size_t>(size_), "one count a rank");
    require(counts[rank_] == mine, "a slice of the size that its count says");
    const Slices slices = {std::accumulate(counts.begin(), counts.end(), size_t{0}),
                           std::accumulate(counts.begin(), counts.begin() + rank_, size_t{0})};
    require(rank_ != 0 || all == slices.total, "room for all slices on rank 0");
    return slices;
  }

  // Where the window that begins at byte `first` of all slices meets this rank's own slice.
  template <typename Byte>
  static Byte* sent_in(std::span<Byte> mine, size_t mine_from, size_t first) {
    return mine.data() + std::min(mine.size(), first - std::min(first, mine_from));
  }

  void finish(int code, MPI_Request request, const char* call) {
    MpiPending pending(communicator_);
    pending.add(code, request, call);
    wait(pending);
  }

  void broadcast_from(int root, std::span<std::byte> data) {
    for (size_t first = 0; first < data.size(); first += max_message_) {
      const int count = static_cast<int>(std::min(max_message_, data.size() - first));
      MPI_Request request = MPI_REQUEST_NULL;
      const int code =
          MPI_Ibcast(data.data() + first, count, MPI_BYTE, root, communicator_->handle, &request);
      finish(code, request, "MPI_Ibcast");
    }
  }

  int next_tag() { return kFirstExchangeTag + static_cast<int>(operations_++ % kExchangeTags); }
  Exchange exchange() const {
    return {communicator_, bytes_sent_, nodes_, rank_, size_, max_message_};
  }

  template <typename T>
  std::unique_ptr<Pending> start(std::span<T> data, ShardWork work) {
    if (size_ == 1) return std::make_unique<MpiPending>(communicator_);  // complete from the start
    return start_shard_work(exchange(), data, work, next_tag());
  }

  template <typename T>
  std::unique_ptr<Pending> start_sum(std::span<T> data, MPI_Datatype type) {
    auto pending = std::make_unique<MpiPending>(communicator_);
    if (size_ == 1) return pending;  // complete from the start
    if (data.size_bytes() / static_cast<size_t>(size_) >= kSmallestShardBytes)
      return start(data, {.adds = true, .gathers = true});
    *bytes_sent_ += 2 * data.size_bytes() * others() / static_cast<uint64_t>(size_);
    for (size_t first = 0; first < data.size(); first += max_message_) {
      const int count = static_cast<int>(std::min(max_message_, data.size() - first));
      MPI_Request request = MPI_REQUEST_NULL;
      const int code = MPI_Iallreduce(MPI_IN_PLACE, data.data() + first, count, type, MPI_SUM,
                                      communicator_->handle, &request);
      pending->add(code, request, "MPI_Iallreduce");
    }
    return pending;
  }

  std::shared_ptr<Communicator> communicator_;
  size_t max_message_;
  Mailbox mailbox_;
  std::shared_ptr<const Nodes> nodes_;
  int rank_ = 0;
  int size_ = 1;
  int ranks_on_this_node_ = 1;
  uint32_t operations_ = 0;  // exchanges so far
};

}  // namespace

std::unique_ptr<Collectives> make_mpi_collectives(MPI_Comm communicator, size_t max_message,
                                                  const NodeOfRank& node_of) {
  return std::make_unique<MpiCollectives>(communicator, max_message, node_of);
}

}  // namespace eggroll
