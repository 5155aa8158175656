#include "coordinator/tiles/tile_exchange.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <set>
#include <thread>
#include <utility>

#include "common/check.hpp"
#include "common/start_thread.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/tiles/fitness_message.hpp"
#include "coordinator/tiles/tile_ledger.hpp"
#include "coordinator/tiles/tile_shelf.hpp"

namespace eggroll {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kTellEvery_s = 0.02;  // finished tiles are a sign of life
constexpr size_t kMostResults = 1024;  // in one mail

// In front of the results in mail to rank 0.
struct ResultsHead {
  uint32_t asks = 0;
  uint32_t results = 0;
};
// In front of the fitness of a tile, and of its sums.
struct ResultHead {
  uint64_t tile = 0;
  double seconds = 0;
  Tally tally;
  uint64_t sums = 0;  // how many
};
static_assert(sizeof(ResultHead) == kMailBytesOfATile);

template <typename T>
void append(std::vector<std::byte>& bytes, const T& value) {
  const auto view = bytes_of(value);
  bytes.insert(bytes.end(), view.begin(), view.end());
}

// Takes a value off the front.
template <typename T>
T take(std::span<const std::byte>& bytes) {
  require(bytes.size() >= sizeof(T), "whole mail");
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return value;
}

// The threads that run tiles, and their end whatever happens.
class Evaluating {
 public:
  Evaluating(const GenerationPlan& plan, Task& task, TileShelf& shelf) : shelf_(shelf) {
    std::packaged_task<void()> work([&] { task.evaluate(plan, shelf); });
    done_ = work.get_future();
    thread_ = start_thread(std::move(work));
  }
  ~Evaluating() { end(); }

  bool has_ended() const {
    return done_.valid() && done_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  // Whatever still runs is left; throws what has been thrown.
  void finish() {
    end();
    done_.get();
  }

 private:
  void end() {
    shelf_.end();
    if (thread_.joinable()) thread_.join();
  }

  TileShelf& shelf_;
  std::future<void> done_;
  std::thread thread_;
};

class TileExchange {
 public:
  TileExchange(const RunConfig& config, Collectives& group)
      : config_(config), group_(group), shelf_(config.pairs()) {
    exchanged_.collected.resize(static_cast<size_t>(group.size()));
  }
  virtual ~TileExchange() = default;

  ExchangedTiles run(const GenerationPlan& plan, Task& task) {
    Evaluating evaluating(plan, task, shelf_);
    auto moved = Clock::now();
    while (!is_over_) {
      if (evaluating.has_ended()) evaluating.finish();  // with an exception
      if (advance()) moved = Clock::now();
      pause_after(Clock::now() - moved);
    }
    evaluating.finish();
    exchanged_.tile_s = shelf_.tile_s();
    return std::move(exchanged_);
  }

 protected:
  // One look at all there is to do; false where there was nothing.
  virtual bool advance() = 0;

  void post(int to, const std::vector<std::byte>& mail) {
    group_.post(to, mail);
    ++exchanged_.posted;
  }

  const RunConfig& config_;
  Collectives& group_;
  TileShelf shelf_;
  ExchangedTiles exchanged_;
  bool is_over_ = false;
};

class Rank0 final : public TileExchange {
 public:
  Rank0(const RunConfig& config, Collectives& group)
      : TileExchange(config, group),
        ledger_(tiles_of(config.pairs()), group.size(), config.straggler_limit) {
    exchanged_.fitness.resize(config.population);
  }

 private:
  bool advance() override {
    bool moved = false;
    while (const std::optional<Mail> mail = group_.collect()) {
      hear(*mail);
      moved = true;
    }
    for (const TileResult& result : shelf_.take_results()) {
      std::vector<std::byte> encoded(
          fitness_bytes(config_.fitness_encoding, result.fitness.size() / 2));
      encode_fitness(config_.fitness_encoding, result.fitness, encoded);
      enter(0, {result.tile, result.seconds, result.tally, result.sums.size()}, encoded,
            result.sums);
      moved = true;
    }
    if (shelf_.is_empty()) asking_.insert(0);
    const double now_s = watch_.elapsed_s();
    std::erase_if(asking_, [&](int rank) { return give(rank, now_s); });
    if (ledger_.is_complete()) end();
    return moved;
  }

  void hear(const Mail& mail) {
    ++exchanged_.collected[static_cast<size_t>(mail.from)];
    std::span<const std::byte> rest = mail.bytes;
    const auto told = take<ResultsHead>(rest);
    for (uint32_t i = 0; i < told.results; ++i) {
      const auto tile = take<ResultHead>(rest);
      const size_t size =
          fitness_bytes(config_.fitness_encoding, pairs_of_tile(config_.pairs(), tile.tile).count);
      require(rest.size() >= size, "whole mail");
      const auto fitness = rest.first(size);
      rest = rest.subspan(size);
      std::vector<int64_t> sums;
      while (sums.size() < tile.sums) sums.push_back(take<int64_t>(rest));
      enter(mail.from, tile, fitness, sums);
    }
    if (told.asks) asking_.insert(mail.from);
  }

  // A tile that was run twice counts once.
  void enter(int rank, const ResultHead& tile, std::span<const std::byte> fitness,
             std::span<const int64_t> sums) {
    if (!ledger_.finish(rank, tile.tile, tile.seconds, watch_.elapsed_s())) return;
    exchanged_.tally += tile.tally;
    add_sums(exchanged_.sums, sums);
    const PairRange pairs = pairs_of_tile(config_.pairs(), tile.tile);
    decode_fitness(config_.fitness_encoding, fitness,
                   std::span(exchanged_.fitness).subspan(2 * pairs.first, 2 * pairs.count));
  }

  bool give(int rank, double now_s) {
    const TileRange tiles = ledger_.grant(rank, now_s);
    if (tiles.count == 0) return false;
    if (rank == 0)
      shelf_.put(tiles);
    else
      post_tiles(rank, tiles);
    return true;
  }

  void end() {
    for (int rank = 1; rank < group_.size(); ++rank) post_tiles(rank, {});
    exchanged_.given_again = ledger_.given_again();
    is_over_ = true;
  }

  void post_tiles(int rank, const TileRange& tiles) {
    std::vector<std::byte> mail;
    append(mail, tiles);
    post(rank, mail);
  }

  TileLedger ledger_;
  std::set<int> asking_;  // and have not been given anything
  Stopwatch watch_;
};

class OtherRank final : public TileExchange {
 public:
  using TileExchange::TileExchange;

 private:
  bool advance() override {
    bool moved = false;
    while (const std::optional<Mail> mail = group_.collect()) {
      std::span<const std::byte> rest = mail->bytes;
      const auto tiles = take<TileRange>(rest);
      if (tiles.count == 0) is_over_ = true;
      shelf_.put(tiles);
      has_asked_ = false;
      moved = true;
    }
    if (is_over_) return true;
    for (TileResult& result : shelf_.take_results()) untold_.push_back(std::move(result));
    const bool asks = !has_asked_ && shelf_.is_empty();
    // Without more to run rank 0 may wait for these.
    const bool tells = !untold_.empty() && (has_asked_ || since_told_.elapsed_s() > kTellEvery_s);
    if (asks || tells) tell(asks);
    return moved || asks || tells;
  }

  void tell(bool asks) {
    do {
      const size_t count = std::min(kMostResults, untold_.size());
      std::vector<std::byte> mail;
      append(mail, ResultsHead{asks && count == untold_.size(), static_cast<uint32_t>(count)});
      for (size_t i = 0; i < count; ++i) {
        const TileResult& result = untold_[i];
        append(mail, ResultHead{result.tile, result.seconds, result.tally, result.sums.size()});
        const size_t at = mail.size();
        mail.resize(at + fitness_bytes(config_.fitness_encoding, result.fitness.size() / 2));
        encode_fitness(config_.fitness_encoding, result.fitness, std::span(mail).subspan(at));
        for (const int64_t sum : result.sums) append(mail, sum);
      }
      post(0, mail);
      untold_.erase(untold_.begin(), untold_.begin() + static_cast<ptrdiff_t>(count));
    } while (!untold_.empty());
    has_asked_ |= asks;
    since_told_ = Stopwatch();
  }

  std::vector<TileResult> untold_;
  bool has_asked_ = false;
  Stopwatch since_told_;
};

}  // namespace

ExchangedTiles exchange_tiles(const GenerationPlan& plan, const RunConfig& config,
                              Collectives& group, Task& task) {
  if (group.rank() == 0) return Rank0(config, group).run(plan, task);
  return OtherRank(config, group).run(plan, task);
}

void collect_rest(Collectives& group, const std::vector<uint64_t>& posted,
                  std::vector<uint64_t>& collected) {
  const auto start = Clock::now();
  while (collected != posted) {
    if (const std::optional<Mail> mail = group.collect())
      ++collected[static_cast<size_t>(mail->from)];
    else
      pause_after(Clock::now() - start);
  }
}

}  // namespace eggroll
