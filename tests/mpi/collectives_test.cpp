// The messages of a run, on 1, 2, 3, 4 and 6 ranks.
#include "common/messages/collectives.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "common/check.hpp"
#include "common/messages/membership.hpp"
#include "common/messages/packed_sums.hpp"
#include "common/partition.hpp"
#include "tests/support/mpi_world.hpp"

namespace eggroll {
namespace {

using test::mpi_session;
using test::mpi_world;

// Byte `i` of the slice of `rank`: no two neighbours equal, different on every rank.
std::byte pattern(int rank, size_t i) {
  return static_cast<std::byte>(7 * i + 31 * rank + i / 256);
}

std::vector<std::byte> slice_of(int rank, size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = pattern(rank, i);
  return bytes;
}

std::vector<std::byte> all_slices(const std::vector<size_t>& counts) {
  std::vector<std::byte> all;
  for (size_t r = 0; r < counts.size(); ++r) {
    const std::vector<std::byte> slice = slice_of(static_cast<int>(r), counts[r]);
    all.insert(all.end(), slice.begin(), slice.end());
  }
  return all;
}

// Uneven, with empty slices in front, between and behind.
std::vector<std::vector<size_t>> uneven_counts(int size) {
  std::vector<std::vector<size_t>> cases(5, std::vector<size_t>(size, 0));
  for (int r = 0; r < size; ++r) {
    cases[0][r] = 5 + 3 * r;
    cases[1][r] = r % 2 == 0 ? 0 : 11;
    cases[2][r] = r % 2 == 0 ? 4 * r + 1 : 0;
    cases[3][r] = 300'000 + 17 * r;
  }
  return cases;  // the last: nothing from anybody
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return t.tv_sec + 1e-6 * t.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

enum class Kind { mpi, nodes_of_two, nodes_in_turn, point_to_point };

// Runs with messages of ordinary length and cut into pieces of 7 elements, through MPI's
// collectives, as they are and as if ranks were on nodes (2 on each; or on two nodes in turn), and
// through messages between the ranks of a membership.
class CollectivesTest : public testing::TestWithParam<std::tuple<Kind, size_t>> {
 protected:
  // Nobody leaves while another still waits for a message.
  void TearDown() override {
    if (membership_) membership_->agree_at_end("");
  }
  bool is_cut() const { return std::get<1>(GetParam()) < 1000; }

  // In the order of their destruction: the group goes first.
  std::unique_ptr<Membership> membership_;
  const std::unique_ptr<Collectives> group_ = [this] {
    const auto [kind, length] = GetParam();
    if (kind == Kind::mpi) return mpi_session().world(length);
    if (kind == Kind::nodes_of_two)
      return mpi_session().world(length, [](int rank) { return rank / 2; });
    if (kind == Kind::nodes_in_turn)
      return mpi_session().world(length, [](int rank) { return rank % 2; });
    membership_ = std::make_unique<Membership>(mpi_world(), 30);
    return mpi_session().group_of(*membership_, length);
  }();
  const int rank_ = group_->rank();
  const int size_ = group_->size();
};
INSTANTIATE_TEST_SUITE_P(KindAndMessageLength, CollectivesTest,
                         testing::Combine(testing::Values(Kind::mpi, Kind::nodes_of_two,
                                                          Kind::nodes_in_turn,
                                                          Kind::point_to_point),
                                          testing::Values(size_t{1} << 26, 7)));

TEST_P(CollectivesTest, BroadcastBringsTheBytesOfRankZeroToAll) {
  for (const size_t length : {0, 1, 100, 5'000, is_cut() ? 5'001 : 8'000'003}) {
    std::vector<std::byte> data = slice_of(rank_, length);
    group_->broadcast(data);
    EXPECT_EQ(data, slice_of(0, length)) << length << " bytes";
  }
}

TEST_P(CollectivesTest, GatherPutsUnevenSlicesInRankOrder) {
  for (const std::vector<size_t>& counts : uneven_counts(size_)) {
    const std::vector<std::byte> expected = all_slices(counts);
    if (is_cut() && expected.size() > 10'000) continue;
    std::vector<std::byte> all(rank_ == 0 ? expected.size() : 0);
    group_->gather(slice_of(rank_, counts[rank_]), counts, all);
    if (rank_ == 0) {
      EXPECT_EQ(all, expected);
    }
  }
}

TEST_P(CollectivesTest, ScatterGivesEachRankItsUnevenSlice) {
  for (const std::vector<size_t>& counts : uneven_counts(size_)) {
    const std::vector<std::byte> all = all_slices(counts);
    if (is_cut() && all.size() > 10'000) continue;
    std::vector<std::byte> mine(counts[rank_]);
    group_->scatter(rank_ == 0 ? all : std::vector<std::byte>{}, counts, mine);
    EXPECT_EQ(mine, slice_of(rank_, counts[rank_]));
  }
}

TEST_P(CollectivesTest, AllGatherBringsAllSlicesToAll) {
  for (const size_t length : {0, 1, 7, 8, 1'000, is_cut() ? 1'001 : 1'000'001}) {
    std::vector<std::byte> all(length * size_);
    group_->all_gather(slice_of(rank_, length), all);
    EXPECT_EQ(all, all_slices(std::vector<size_t>(size_, length))) << length << " bytes";
  }
}

TEST_P(CollectivesTest, ShiftBringsTheBytesOfTheRankSoFarBelow) {
  for (int distance = 0; distance <= size_; ++distance)
    for (const auto& counts : uneven_counts(size_)) {
      if (is_cut() && counts[0] > 1000) continue;  // all pieces are under way at once
      const int from = (rank_ + size_ - distance % size_) % size_;
      std::vector<std::byte> arrived(counts[from]);
      group_->shift(slice_of(rank_, counts[rank_]), distance, arrived);
      EXPECT_EQ(arrived, slice_of(from, counts[from]));
    }
}

TEST_P(CollectivesTest, AllReducesPendingTogetherCompleteInAnyOrder) {
  const size_t large = is_cut() ? 500 : 1'500'000;
  std::vector<std::vector<int32_t>> narrow = {std::vector<int32_t>(1),
                                              std::vector<int32_t>(large),
                                              {},
                                              std::vector<int32_t>(83'000 % large)};
  std::vector<int64_t> wide(large / 3);
  for (std::vector<int32_t>& data : narrow)
    for (size_t i = 0; i < data.size(); ++i)
      data[i] = (rank_ + 1) * (i % 2 == 0 ? 1 : -1) * static_cast<int32_t>(i);
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = (rank_ + 1) * (int64_t{1} << 40) - int64_t(i);

  std::vector<std::unique_ptr<Collectives::Pending>> pending;
  for (std::vector<int32_t>& data : narrow) pending.push_back(group_->start_all_reduce_sum(data));
  pending.push_back(group_->start_all_reduce_sum(wide));
  if (rank_ % 2 == 1) std::ranges::reverse(pending);  // the order of waiting is each rank's own
  for (const auto& operation : pending) Collectives::wait(*operation);
  for (const auto& operation : pending) EXPECT_TRUE(operation->test());

  const int32_t ranks_sum = size_ * (size_ + 1) / 2;
  for (std::vector<int32_t>& data : narrow) {
    size_t wrong = 0;
    for (size_t i = 0; i < data.size(); ++i)
      wrong += data[i] != ranks_sum * (i % 2 == 0 ? 1 : -1) * static_cast<int32_t>(i);
    EXPECT_EQ(wrong, 0u) << "of " << data.size();
  }
  size_t wrong = 0;
  for (size_t i = 0; i < wide.size(); ++i)
    wrong += wide[i] != ranks_sum * (int64_t{1} << 40) - size_ * int64_t(i);
  EXPECT_EQ(wrong, 0u) << "of " << wide.size();
}

TEST_P(CollectivesTest, ShardsAreAddedUpAndGatheredWhateverTheirSizes) {
  std::vector<size_t> sizes = {0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 1000};
  if (!is_cut()) sizes.push_back(700'001);
  struct Bucket {
    std::vector<int32_t> narrow, words;
    std::vector<int64_t> wide;
    std::vector<int8_t> bytes;
  };
  std::vector<Bucket> buckets;
  for (const size_t size : sizes) {
    Bucket b{std::vector<int32_t>(size), std::vector<int32_t>(size, -1), std::vector<int64_t>(size),
             std::vector<int8_t>(size, -1)};
    const Shard mine = shard_of_rank(size, rank_, size_);
    for (size_t i = 0; i < size; ++i) {
      b.narrow[i] = static_cast<int32_t>(i) * (rank_ + 1);
      b.wide[i] = (int64_t{1} << 52) + static_cast<int64_t>(i) * rank_;
      if (i < mine.first || i >= mine.first + mine.count) continue;
      b.bytes[i] = static_cast<int8_t>(7 * i);
      b.words[i] = static_cast<int32_t>(70'001 * i);
    }
    buckets.push_back(std::move(b));
  }
  std::vector<std::unique_ptr<Collectives::Pending>> pending;
  for (Bucket& b : buckets) {
    pending.push_back(group_->start_reduce_scatter_sum(b.narrow));
    pending.push_back(group_->start_all_gather(b.bytes));
    pending.push_back(group_->start_reduce_scatter_sum(b.wide));
    pending.push_back(group_->start_all_gather(b.words));
  }
  if (rank_ % 2 == 1) std::ranges::reverse(pending);  // the order of waiting is each rank's own
  for (const auto& operation : pending) Collectives::wait(*operation);
  for (const auto& operation : pending) EXPECT_TRUE(operation->test());

  const int32_t ranks_sum = size_ * (size_ + 1) / 2;
  for (const Bucket& b : buckets) {
    const size_t size = b.bytes.size();
    const Shard mine = shard_of_rank(size, rank_, size_);
    size_t wrong = 0;
    for (size_t i = mine.first; i < mine.first + mine.count; ++i)
      wrong += b.narrow[i] != static_cast<int32_t>(i) * ranks_sum ||
               b.wide[i] != (int64_t{size_} << 52) + static_cast<int64_t>(i) * (ranks_sum - size_);
    for (size_t i = 0; i < size; ++i)
      wrong += b.bytes[i] != static_cast<int8_t>(7 * i) ||
               b.words[i] != static_cast<int32_t>(70'001 * i);
    EXPECT_EQ(wrong, 0u) << "of " << size;
  }
}

TEST_P(CollectivesTest, OperationsThatNobodyWaitsForAreCompletedBeforeTheyGo) {
  std::vector<int32_t> all(300'000, 1), part(300'001, 2);
  std::vector<int8_t> bytes(300'002, static_cast<int8_t>(rank_));
  if (is_cut()) {
    all.resize(600);
    part.resize(601);
    bytes.resize(602);
  }
  {
    const auto sum = group_->start_all_reduce_sum(all);
    const auto shard = group_->start_reduce_scatter_sum(part);
    const auto gathered = group_->start_all_gather(bytes);
  }
  EXPECT_EQ(static_cast<size_t>(std::ranges::count(all, size_)), all.size());
  const Shard mine = shard_of_rank(part.size(), rank_, size_);
  for (size_t i = mine.first; i < mine.first + mine.count; ++i) EXPECT_EQ(part[i], 2 * size_);
  for (int r = 0; r < size_; ++r) {
    const Shard shard = shard_of_rank(bytes.size(), r, size_);
    for (size_t i = shard.first; i < shard.first + shard.count; ++i) EXPECT_EQ(bytes[i], r);
  }
}

TEST_P(CollectivesTest, AWaitMovesOnWhatOtherRanksWaitFor) {
  std::vector<int32_t> sums(is_cut() ? 600 : 60'000, 1);
  const auto pending = group_->start_all_reduce_sum(sums);
  if (rank_ == 0) Collectives::wait(*pending);
  group_->barrier();
  Collectives::wait(*pending);
  EXPECT_EQ(static_cast<size_t>(std::ranges::count(sums, size_)), sums.size());
}

TEST(Collectives, AWaitInOneGroupMovesOnWhatIsUnderWayInAnother) {
  const std::unique_ptr<Collectives> a = mpi_session().world(), b = mpi_session().world();
  std::vector<int32_t> sums(60'000, 1);
  const auto pending = a->start_all_reduce_sum(sums);
  if (a->rank() == 0) Collectives::wait(*pending);
  b->barrier();
  Collectives::wait(*pending);
  EXPECT_EQ(std::ranges::count(sums, a->size()), 60'000);
}

TEST(Collectives, OtherCallsMayRunBetweenStartAndWait) {
  Collectives& group = mpi_world();
  std::vector<int32_t> sums(200'000, group.rank() + 1);
  const auto pending = group.start_all_reduce_sum(sums);
  uint64_t word = group.rank() == 0 ? 42 : 0;
  group.broadcast(bytes_of(word));
  group.barrier();
  Collectives::wait(*pending);
  EXPECT_EQ(word, 42u);
  EXPECT_EQ(std::ranges::count(sums, group.size() * (group.size() + 1) / 2), 200'000);
}

TEST(Collectives, AnExceptionThatAllRanksThrowLeavesTheGroupUsable) {
  const std::unique_ptr<Collectives> group = mpi_session().world();
  std::vector<int32_t> sums(300'000, 1);
  try {
    const auto dropped = group->start_all_reduce_sum(sums);
    throw std::runtime_error("on every rank");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(std::ranges::count(sums, group->size()), 300'000);
  group->barrier();
}

TEST(Collectives, APendingOperationMayOutliveItsGroup) {
  std::unique_ptr<Collectives> group = mpi_session().world();
  std::vector<int32_t> sums(300'000, 1);
  const int size = group->size();
  const auto pending = group->start_all_reduce_sum(sums);
  group.reset();
  Collectives::wait(*pending);
  EXPECT_EQ(std::ranges::count(sums, size), 300'000);
}

TEST(Collectives, WaitingForALateRankBurnsLittleCpu) {
  Collectives& group = mpi_world();
  group.barrier();
  const double before = cpu_seconds();
  if (group.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  group.barrier();
  EXPECT_LT(cpu_seconds() - before, 0.15);
}

TEST(Collectives, TheBarrierHoldsUntilTheLastRankIsThere) {
  Collectives& group = mpi_world();
  group.barrier();
  const auto start = std::chrono::steady_clock::now();
  if (group.rank() == group.size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  group.barrier();
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(40));
}

TEST(Collectives, BytesAreCountedAsTheAlgorithmSendsThem) {
  const std::unique_ptr<Collectives> group = mpi_session().world();
  const uint64_t size = group->size();
  const bool is_root = group->rank() == 0;
  uint64_t expected = 0;

  std::array<std::byte, 100> plan{};
  group->broadcast(plan);
  expected += is_root ? 100 * (size - 1) : 0;
  EXPECT_EQ(group->bytes_sent(), expected);

  const std::vector<size_t> counts(size, 40);
  std::vector<std::byte> all(is_root ? 40 * size : 0);
  std::array<std::byte, 40> mine{};
  group->gather(mine, counts, all);
  expected += is_root ? 0 : 40;
  EXPECT_EQ(group->bytes_sent(), expected);
  group->scatter(all, counts, mine);
  expected += is_root ? 40 * (size - 1) : 0;
  EXPECT_EQ(group->bytes_sent(), expected);

  std::vector<std::byte> everywhere(40 * size);
  group->all_gather(mine, everywhere);
  expected += 40 * (size - 1);
  EXPECT_EQ(group->bytes_sent(), expected);

  std::array<int32_t, 30> sums{};
  Collectives::wait(*group->start_all_reduce_sum(sums));
  expected += 2 * (size - 1) * 120 / size;
  EXPECT_EQ(group->bytes_sent(), expected);

  const uint64_t own = shard_of_rank(30, group->rank(), group->size()).count;
  Collectives::wait(*group->start_reduce_scatter_sum(sums));
  expected += kPackedHeaderBytes * (size - 1) + (30 - own);  // zeros, in a byte each
  EXPECT_EQ(group->bytes_sent(), expected);
  Collectives::wait(*group->start_all_gather(sums));
  expected += (kPackedHeaderBytes + own) * (size - 1);
  EXPECT_EQ(group->bytes_sent(), expected);
  group->barrier();
  EXPECT_EQ(group->bytes_sent(), expected);

  // In two bytes each, as long as they are not added up, and then, if there is another, in three.
  std::vector<int32_t> large(12'000, 32'767);
  Collectives::wait(*group->start_all_reduce_sum(large));
  const uint64_t each = 12'000 / size;
  expected += (size - 1) * (2 * kPackedHeaderBytes + 5 * each);
  EXPECT_EQ(group->bytes_sent(), expected);
}

TEST(Collectives, WrongSizesAreRefusedBeforeAnythingIsSent) {
  Collectives& group = mpi_world();
  const size_t size = static_cast<size_t>(group.size());
  std::vector<std::byte> mine(3);
  std::vector<std::byte> all(3 * size);
  EXPECT_THROW(group.gather(mine, std::vector<size_t>(size + 1, 3), all), Error);
  EXPECT_THROW(group.gather(mine, std::vector<size_t>(size, 4), all), Error);
  EXPECT_THROW(group.scatter(all, std::vector<size_t>(size, 4), mine), Error);
  EXPECT_THROW(group.all_gather(mine, std::span(all).first(3 * size - 1)), Error);
  EXPECT_THROW(mpi_session().world(0), Error);
}

TEST(Collectives, AllRanksOfThisTestShareANode) {
  EXPECT_EQ(mpi_world().ranks_on_this_node(), mpi_world().size());
}

TEST(BytesOf, SeesTheElementsOfARangeAndNotItsHandle) {
  std::vector<int32_t> numbers = {1, 2, 3};
  EXPECT_EQ(bytes_of(numbers).size(), 12u);
  EXPECT_EQ(bytes_of(std::span(numbers).first(2)).size(), 8u);
  const double one = 1;
  EXPECT_EQ(bytes_of(one).size(), 8u);
  static_assert(std::is_same_v<decltype(bytes_of(one)), std::span<const std::byte>>);
}

}  // namespace
}  // namespace eggroll
