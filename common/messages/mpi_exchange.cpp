#include "common/messages/mpi_exchange.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>

#include "common/check.hpp"
#include "common/messages/packed_sums.hpp"
#include "common/partition.hpp"

namespace eggroll {

namespace {

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

template <typename T>
std::span<T> shard_of(const Exchange& exchange, std::span<T> data, int owner) {
  const Shard shard = shard_of_rank(data.size(), owner, exchange.size);
  return data.subspan(shard.first, shard.count);
}

// A rank in one phase of an exchange, and the ranks whose shards pass through it there.
struct Party {
  int rank = 0;
  std::vector<int> owners;
};

enum class Level { on_node, between_nodes };

// On a node each rank stands for those that have its place on any node; between nodes for itself.
Party party_at(const Nodes& nodes, Level level, int node, int place) {
  Party party{nodes.at(node, place), {}};
  if (level == Level::between_nodes)
    party.owners = {party.rank};
  else
    for (int other = 0; other < nodes.nodes; ++other)
      party.owners.push_back(nodes.at(other, place));
  return party;
}
Party own_party(const Nodes& nodes, Level level) {
  return party_at(nodes, level, nodes.node, nodes.place);
}
// Beginning above this one, in a circle: not all ranks send to the same one first.
std::vector<Party> other_parties(const Nodes& nodes, Level level) {
  std::vector<Party> parties;
  if (level == Level::on_node)
    for (int i = 1; i < nodes.places; ++i)
      parties.push_back(party_at(nodes, level, nodes.node, (nodes.place + i) % nodes.places));
  else
    for (int i = 1; i < nodes.nodes; ++i)
      parties.push_back(party_at(nodes, level, (nodes.node + i) % nodes.nodes, nodes.place));
  return parties;
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

  // Into `sums`, some time after all is complete.
  template <typename T>
  std::span<const std::byte> receive(std::span<T> sums, int from, int tag) {
    const std::span<std::byte> room = room_for(sums);
    exchange_.receive(*messages_, room, from, tag);
    return room;
  }
  template <typename T>
  void send(std::span<T> sums, std::span<const Party> to, int tag) {
    const std::span<std::byte> room = room_for(sums);
    const std::span<const std::byte> packed = room.first(pack_sums(std::span<const T>(sums), room));
    for (const Party& party : to) exchange_.send(*messages_, packed, room.size(), party.rank, tag);
  }
  bool is_complete() { return messages_->is_complete(); }

 private:
  template <typename T>
  std::span<std::byte> room_for(std::span<T> sums) {
    const size_t bytes = most_packed_bytes<T>(sums.size());
    require(used_ + bytes <= bytes_, "memory of all messages");
    const std::span<std::byte> room(memory_.get() + used_, bytes);
    used_ += bytes;
    return room;
  }

  const Exchange exchange_;
  const size_t bytes_;
  MessageMemory::Block memory_;
  size_t used_ = 0;
  std::unique_ptr<MpiPending> messages_;
};

// A phase that has begun; of no more use once it is complete.
class Phase {
 public:
  virtual ~Phase() = default;
  virtual bool is_complete() = 0;
};

template <typename T>
size_t most_packed_bytes_of(const Exchange& exchange, std::span<T> data, const Party& party) {
  size_t bytes = 0;
  for (const int owner : party.owners)
    bytes += most_packed_bytes<T>(shard_of(exchange, data, owner).size());
  return bytes;
}

// Each party gets from the others what they have of its owners' shards, and adds it to its own.
template <typename T>
class AddPhase final : public Phase {
 public:
  AddPhase(const Exchange& exchange, std::span<T> data, Level level, int tag) {
    const Party own = own_party(*exchange.nodes, level);
    const std::vector<Party> others = other_parties(*exchange.nodes, level);
    size_t bytes = others.size() * most_packed_bytes_of(exchange, data, own);
    for (const Party& party : others) bytes += most_packed_bytes_of(exchange, data, party);
    messages_.emplace(exchange, bytes);
    for (const Party& party : others)
      for (const int owner : own.owners) {
        const std::span<T> shard = shard_of(exchange, data, owner);
        arriving_.push_back({messages_->receive(shard, party.rank, tag), shard});
      }
    for (const Party& party : others)
      for (const int owner : party.owners)
        messages_->send(shard_of(exchange, data, owner), std::span(&party, 1), tag);
  }

  bool is_complete() override {
    if (!messages_->is_complete()) return false;
    for (const auto& [packed, shard] : arriving_) add_packed_sums(packed, shard);
    return true;
  }

 private:
  std::optional<PackedMessages> messages_;
  std::vector<std::pair<std::span<const std::byte>, std::span<T>>> arriving_;
};

// Each party sends its owners' shards to the others: sums packed, anything else as it is.
template <typename T>
class GatherPhase final : public Phase {
  static constexpr bool kIsPacked = !std::is_same_v<T, int8_t>;

 public:
  GatherPhase(const Exchange& exchange, std::span<T> data, Level level, int tag)
      : plain_(exchange.communicator) {
    const Party own = own_party(*exchange.nodes, level);
    const std::vector<Party> others = other_parties(*exchange.nodes, level);
    if constexpr (kIsPacked) {
      size_t bytes = most_packed_bytes_of(exchange, data, own);
      for (const Party& party : others) bytes += most_packed_bytes_of(exchange, data, party);
      packed_.emplace(exchange, bytes);
    }
    for (const Party& party : others)
      for (const int owner : party.owners) {
        const std::span<T> shard = shard_of(exchange, data, owner);
        if constexpr (kIsPacked)
          arriving_.push_back({packed_->receive(shard, party.rank, tag), shard});
        else
          exchange.receive(plain_, bytes_of(shard), party.rank, tag);
      }
    for (const int owner : own.owners) {
      const std::span<T> shard = shard_of(exchange, data, owner);
      if constexpr (kIsPacked)
        packed_->send(shard, others, tag);
      else
        for (const Party& party : others)
          exchange.send(plain_, std::as_bytes(shard), shard.size_bytes(), party.rank, tag);
    }
  }

  bool is_complete() override {
    if (!plain_.is_complete() || (packed_ && !packed_->is_complete())) return false;
    if constexpr (kIsPacked)
      for (const auto& [packed, shard] : arriving_) unpack_sums(packed, shard);
    return true;
  }

 private:
  MpiPending plain_;
  std::optional<PackedMessages> packed_;
  std::vector<std::pair<std::span<const std::byte>, std::span<T>>> arriving_;
};

// Shards are added up, gathered, or both: on the node, between nodes, and back. Messages of two
// phases between the same ranks come in their order, so one tag will do.
template <typename T>
class ShardOperation final : public Collectives::Pending, public Steps {
 public:
  ShardOperation(const Exchange& exchange, std::span<T> data, ShardWork work, int tag)
      : exchange_(exchange), data_(data), tag_(tag), exceptions_(std::uncaught_exceptions()) {
    const bool has_neighbours = exchange.nodes->places > 1;
    if (work.adds && has_neighbours) plan_.push_back({true, Level::on_node});
    if (work.adds) plan_.push_back({true, Level::between_nodes});
    if (work.gathers) plan_.push_back({false, Level::between_nodes});
    if (work.gathers && has_neighbours) plan_.push_back({false, Level::on_node});
    begin_next();
    Communicator::running.push_back(this);
  }
  ~ShardOperation() override {
    complete(*exchange_.communicator, std::uncaught_exceptions() > exceptions_,
             [this] { return test(); });
    std::erase(Communicator::running, this);
  }

  bool test() override {
    for (Steps* steps : Communicator::running) steps->advance();
    return is_done_;
  }
  void advance() override {
    while (phase_ && phase_->is_complete()) begin_next();
  }

 private:
  struct Planned {
    bool adds;
    Level level;
  };
  void begin_next() {
    phase_.reset();
    if (begun_ == plan_.size()) {
      is_done_ = true;
      return;
    }
    const Planned& next = plan_[begun_++];
    if (!next.adds)
      phase_ = std::make_unique<GatherPhase<T>>(exchange_, data_, next.level, tag_);
    else if constexpr (!std::is_same_v<T, int8_t>)
      phase_ = std::make_unique<AddPhase<T>>(exchange_, data_, next.level, tag_);
  }

  const Exchange exchange_;
  const std::span<T> data_;
  const int tag_;
  const int exceptions_;
  std::vector<Planned> plan_;
  size_t begun_ = 0;
  std::unique_ptr<Phase> phase_;  // nothing: done, or the next could not be begun
  bool is_done_ = false;
};

}  // namespace

MpiPending::MpiPending(std::shared_ptr<Communicator> communicator)
    : communicator_(std::move(communicator)), exceptions_(std::uncaught_exceptions()) {}

MpiPending::~MpiPending() {
  if (requests_.empty()) return;
  complete(*communicator_, std::uncaught_exceptions() > exceptions_, [this] { return test(); });
}

bool MpiPending::test() {
  for (Steps* steps : Communicator::running) steps->advance();
  return is_complete();
}

bool MpiPending::is_complete() {
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

void MpiPending::add(int code, MPI_Request request, const char* call) {
  check_mpi(code, call);
  requests_.push_back(request);
}

Nodes::Nodes(std::span<const int> node_of_rank, int rank) {
  const auto size = static_cast<int>(node_of_rank.size());
  std::map<int, std::vector<int>> on_node;
  for (int r = 0; r < size; ++r) on_node[node_of_rank[static_cast<size_t>(r)]].push_back(r);
  const size_t each = on_node.begin()->second.size();
  const bool is_even =
      on_node.size() > 1 && std::ranges::all_of(on_node, [each](const auto& entry) {
        return entry.second.size() == each;
      });
  places = is_even ? static_cast<int>(each) : 1;
  nodes = size / places;
  for (const auto& entry : on_node)
    ranks.insert(ranks.end(), entry.second.begin(), entry.second.end());
  const auto index = static_cast<int>(std::ranges::find(ranks, rank) - ranks.begin());
  node = index / places;
  place = index % places;
}

void Exchange::send(MpiPending& pending, std::span<const std::byte> bytes, size_t room, int to,
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

void Exchange::receive(MpiPending& pending, std::span<std::byte> room, int from, int tag) const {
  for (size_t first = 0; first < room.size(); first += max_message) {
    const int count = static_cast<int>(std::min(max_message, room.size() - first));
    MPI_Request request = MPI_REQUEST_NULL;
    const int code =
        MPI_Irecv(room.data() + first, count, MPI_BYTE, from, tag, communicator->handle, &request);
    pending.add(code, request, "MPI_Irecv");
  }
}

template <typename T>
std::unique_ptr<Collectives::Pending> start_shard_work(const Exchange& exchange, std::span<T> data,
                                                       ShardWork work, int tag) {
  return std::make_unique<ShardOperation<T>>(exchange, data, work, tag);
}

template std::unique_ptr<Collectives::Pending> start_shard_work(const Exchange&, std::span<int8_t>,
                                                                ShardWork, int);
template std::unique_ptr<Collectives::Pending> start_shard_work(const Exchange&, std::span<int32_t>,
                                                                ShardWork, int);
template std::unique_ptr<Collectives::Pending> start_shard_work(const Exchange&, std::span<int64_t>,
                                                                ShardWork, int);

}  // namespace eggroll
