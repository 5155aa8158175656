// Sums in the memory of devices, on 1 to 4 ranks: common/messages/device_reduction_nccl.cpp itself,
// over an emulated NCCL whose events pass late and which fails and hangs where a test asks for it.
#include "common/messages/device_reduction.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

#include "common/partition.hpp"
#include "common/stopwatch.hpp"
#include "tests/nccl_emulation/emulation.hpp"
#include "tests/support/mpi_world.hpp"
#include "tests/support/solo_collectives.hpp"

namespace eggroll {
namespace {

using test::mpi_world;
using test::nccl_behaviour;
using test::nccl_seen;

// Each rank for itself, in a group that the test breaks when it likes: faults need no other rank.
class FragileGroup final : public test::SoloCollectives {
 public:
  bool is_broken() const override {
    return breaks_after_s_ >= 0 && watch_.elapsed_s() >= breaks_after_s_;
  }
  void break_after(double seconds) {
    watch_ = Stopwatch();
    breaks_after_s_ = seconds;
  }

 private:
  Stopwatch watch_;
  double breaks_after_s_ = -1;
};

class DeviceReductionTest : public testing::Test {
 protected:
  DeviceReductionTest() { reset(); }
  ~DeviceReductionTest() override {
    nccl_behaviour.aborts_for_ever = nccl_behaviour.destroys_for_ever = false;
    for (int i = 0; i < 1000 && (nccl_seen.aborts_done < nccl_seen.aborts_begun ||
                                 nccl_seen.destroyed < nccl_seen.destroys_begun);
         ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(nccl_seen.misuses, 0);
    EXPECT_EQ(nccl_seen.live_events, 0);
    EXPECT_EQ(nccl_seen.live_streams, 0);
    reset();
  }
  static void reset() {
    nccl_behaviour = {};
    nccl_seen.misuses = 0;
    nccl_seen.destroys_begun = nccl_seen.destroyed = 0;
    nccl_seen.aborts_begun = nccl_seen.aborts_done = 0;
  }

  template <typename T>
  static DeviceSums sums_of(std::vector<T>& data) {
    return {data.data(), data.size(), sizeof(T) == sizeof(int64_t)};
  }
  // The words of the error that `work` ends with, after "broken: " where it is a GroupBroken.
  template <typename Work>
  static std::string error_of(Work&& work) {
    try {
      work();
    } catch (const GroupBroken& e) {
      return std::string("broken: ") + e.what();
    } catch (const std::exception& e) {
      return e.what();
    }
    return "no error";
  }
  static std::string error_of_a_sum(Collectives& group, double loss_limit_s = 0) {
    std::vector<int32_t> data{1, 2};
    return error_of([&] {
      const auto limit = std::chrono::milliseconds(static_cast<int>(1000 * loss_limit_s));
      const auto reduction = make_device_reduction(group, {.loss_limit = limit});
      const auto pending = reduction->start_all_reduce_sum(sums_of(data));
      Collectives::wait(*pending);
    });
  }
  static void expect_in(const std::string& text, std::initializer_list<std::string> parts) {
    for (const std::string& part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
  }
};

TEST_F(DeviceReductionTest, HasANameWithAVersion) {
  EXPECT_EQ(device_reduction_name(), "NCCL 2.28.9");
}

TEST_F(DeviceReductionTest, AddsUpBothWidthsOverRanksInAnyOrderOfWaiting) {
  const int64_t rank = mpi_world().rank(), ranks = mpi_world().size(),
                sum = ranks * (ranks - 1) / 2;
  {
    const auto reduction = make_device_reduction(mpi_world(), {});
    std::vector<std::vector<int32_t>> narrow;
    std::vector<std::vector<int64_t>> wide;
    for (int32_t i = 0; i < 5; ++i) {
      narrow.push_back({static_cast<int32_t>(rank), i, -7});
      wide.push_back({(int64_t{1} << 52) + rank, -rank});
    }
    std::vector<std::unique_ptr<Collectives::Pending>> pending;
    for (size_t i = 0; i < 5; ++i) {
      pending.push_back(reduction->start_all_reduce_sum(sums_of(narrow[i])));
      pending.push_back(reduction->start_all_reduce_sum(sums_of(wide[i])));
    }
    std::ranges::reverse(pending);
    for (auto& each : pending) {
      Collectives::wait(*each);
      EXPECT_TRUE(each->test());
      mpi_world().barrier();  // the group's own messages go on beside it
    }
    for (int64_t i = 0; i < 5; ++i) {
      EXPECT_EQ(narrow[i],
                (std::vector<int32_t>{static_cast<int32_t>(sum), static_cast<int32_t>(i * ranks),
                                      static_cast<int32_t>(-7 * ranks)}));
      EXPECT_EQ(wide[i], (std::vector<int64_t>{(ranks << 52) + sum, -sum}));
    }
  }
  EXPECT_EQ(nccl_seen.destroyed, 1);
  EXPECT_EQ(nccl_seen.aborts_begun, 0);
}

TEST_F(DeviceReductionTest, AddsUpShardsAndGathersThemWhateverTheirSizes) {
  const int rank = mpi_world().rank(), ranks = mpi_world().size();
  {
    const auto reduction = make_device_reduction(mpi_world(), {});
    for (size_t size : {0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 1000}) {
      SCOPED_TRACE(size);
      std::vector<int32_t> narrow(size);
      std::vector<int64_t> wide(size);
      std::vector<int8_t> bytes(size);
      std::vector<float> floats(size);
      const Shard mine = shard_of_rank(size, rank, ranks);
      for (size_t i = 0; i < size; ++i) {
        narrow[i] = static_cast<int32_t>(10 * i) + rank;
        wide[i] = (int64_t{1} << 52) + static_cast<int64_t>(i) * rank;
        const bool is_mine = i >= mine.first && i < mine.first + mine.count;
        bytes[i] = is_mine ? static_cast<int8_t>(7 * i) : int8_t{-1};
        floats[i] = is_mine ? 0.1f * static_cast<float>(i) : -1.0f;
      }
      std::vector<std::unique_ptr<Collectives::Pending>> pending;
      pending.push_back(reduction->start_reduce_scatter_sum(sums_of(narrow)));
      pending.push_back(reduction->start_all_gather({bytes.data(), size, Element::int8}));
      pending.push_back(reduction->start_reduce_scatter_sum(sums_of(wide)));
      pending.push_back(reduction->start_all_gather({floats.data(), size, Element::float32}));
      std::ranges::reverse(pending);
      for (auto& each : pending) Collectives::wait(*each);
      const int64_t ranks_sum = ranks * (ranks - 1) / 2;
      for (size_t i = mine.first; i < mine.first + mine.count; ++i) {
        EXPECT_EQ(narrow[i], static_cast<int64_t>(10 * i) * ranks + ranks_sum);
        EXPECT_EQ(wide[i], (int64_t{ranks} << 52) + static_cast<int64_t>(i) * ranks_sum);
      }
      for (size_t i = 0; i < size; ++i) {
        EXPECT_EQ(bytes[i], static_cast<int8_t>(7 * i));
        EXPECT_EQ(floats[i], 0.1f * static_cast<float>(i));
      }
    }
  }
  EXPECT_EQ(nccl_seen.destroyed, 1);
  EXPECT_EQ(nccl_seen.aborts_begun, 0);
}

TEST_F(DeviceReductionTest, ASumIsNotDoneBeforeAllRanksHaveGivenTheirs) {
  const bool is_last = mpi_world().rank() == mpi_world().size() - 1;
  if (is_last) nccl_behaviour.delay_ms = 50;
  const auto reduction = make_device_reduction(mpi_world(), {});
  std::vector<int32_t> data(1000, mpi_world().rank());
  mpi_world().barrier();
  const Stopwatch watch;
  const auto pending = reduction->start_all_reduce_sum(sums_of(data));
  EXPECT_LT(watch.elapsed_s(), 0.04) << "starting waits for nothing";
  EXPECT_FALSE(pending->test());
  Collectives::wait(*pending);
  EXPECT_GT(watch.elapsed_s(), 0.04);
  const int ranks = mpi_world().size();
  EXPECT_EQ(data, std::vector<int32_t>(1000, ranks * (ranks - 1) / 2));
}

TEST_F(DeviceReductionTest, ASumThatNobodyWaitsForIsCompletedBeforeItsMemoryGoes) {
  nccl_behaviour.delay_ms = 20;
  const auto reduction = make_device_reduction(mpi_world(), {});
  std::vector<int64_t> data{1};
  reduction->start_all_reduce_sum(sums_of(data));
  EXPECT_EQ(data[0], mpi_world().size());
  EXPECT_EQ(nccl_seen.aborts_begun, 0);
}

TEST_F(DeviceReductionTest, ItsBytesCountAmongThoseOfTheGroup) {
  const auto reduction = make_device_reduction(mpi_world(), {});
  const uint64_t before = mpi_world().bytes_sent(), ranks = mpi_world().size();
  std::vector<int32_t> narrow(300);
  std::vector<int64_t> wide(300);
  Collectives::wait(*reduction->start_all_reduce_sum(sums_of(narrow)));
  EXPECT_EQ(mpi_world().bytes_sent() - before, 2 * 1200 * (ranks - 1) / ranks);
  Collectives::wait(*reduction->start_all_reduce_sum(sums_of(wide)));
  EXPECT_EQ(mpi_world().bytes_sent() - before,
            2 * 1200 * (ranks - 1) / ranks + 2 * 2400 * (ranks - 1) / ranks);

  const uint64_t mine = shard_of_rank(301, mpi_world().rank(), mpi_world().size()).count;
  std::vector<int8_t> bytes(301);
  wide.resize(301);
  const uint64_t between = mpi_world().bytes_sent();
  Collectives::wait(*reduction->start_reduce_scatter_sum(sums_of(wide)));
  EXPECT_EQ(mpi_world().bytes_sent() - between, 8 * (301 - mine));
  Collectives::wait(*reduction->start_all_gather({bytes.data(), 301, Element::int8}));
  EXPECT_EQ(mpi_world().bytes_sent() - between, 8 * (301 - mine) + mine * (ranks - 1));
  std::vector<float> floats(301);
  Collectives::wait(*reduction->start_all_gather({floats.data(), 301, Element::float32}));
  EXPECT_EQ(mpi_world().bytes_sent() - between, 8 * (301 - mine) + 5 * mine * (ranks - 1));
}

TEST_F(DeviceReductionTest, AStartThatIsRefusedIsAnErrorWithRankAndHost) {
  FragileGroup group;
  nccl_behaviour.start = ncclUnhandledCudaError;
  expect_in(error_of_a_sum(group), {"ncclCommInitRankConfig failed: unhandled cuda error: emulated",
                                    "rank 0 of 1 on " + host_name()});
  nccl_behaviour.start = ncclSuccess;
  nccl_behaviour.after_start = ncclSystemError;
  expect_in(error_of_a_sum(group),
            {"ncclCommInitRankConfig failed: internal error", "rank 0 of 1"});
  EXPECT_EQ(nccl_seen.aborts_begun, 1);
  expect_in(error_of([&] { make_device_reduction(group, {.device_index = 9}); }),
            {"cudaSetDevice failed: invalid device ordinal"});
}

TEST_F(DeviceReductionTest, RanksThatDoNotFindEachOtherAreAnErrorAfterTheLimit) {
  FragileGroup group;
  nccl_behaviour.starts_for_ever = true;
  const Stopwatch watch;
  const std::string error = error_of(
      [&] { make_device_reduction(group, {.start_limit = std::chrono::milliseconds(150)}); });
  expect_in(error, {"not found each other in 0.15 s", "--all-reduce mpi", "rank 0 of 1"});
  EXPECT_LT(watch.elapsed_s(), 2);
  EXPECT_EQ(nccl_seen.aborts_begun, 1);
}

TEST_F(DeviceReductionTest, ARankThatIsLostWhileTheyLookForEachOtherBreaksTheGroup) {
  FragileGroup group;
  nccl_behaviour.starts_for_ever = true;
  group.break_after(0.05);
  const Stopwatch watch;
  expect_in(error_of([&] { make_device_reduction(group, {}); }), {"broken: "});
  EXPECT_LT(watch.elapsed_s(), 2);
}

TEST_F(DeviceReductionTest, AnErrorOfTheCallOrOfTheOperationEndsItWithItsWords) {
  FragileGroup group;
  nccl_behaviour.call = ncclInvalidUsage;
  expect_in(error_of_a_sum(group), {"ncclAllReduce failed: internal error: emulated (rank 0 of 1"});
  nccl_behaviour.call = ncclSuccess;
  nccl_behaviour.operation = ncclRemoteError;
  expect_in(error_of_a_sum(group), {"ncclAllReduce failed: remote process exited", "rank 0 of 1"});
  for (ncclResult_t call : {ncclInvalidUsage, ncclSuccess}) {
    nccl_behaviour.call = call;
    std::vector<int8_t> bytes(3);
    std::vector<int32_t> sums(3);
    expect_in(error_of([&] {
                const auto reduction = make_device_reduction(group, {});
                Collectives::wait(*reduction->start_all_gather({bytes.data(), bytes.size()}));
              }),
              {"ncclAllGather failed: ", "rank 0 of 1"});
    expect_in(error_of([&] {
                const auto reduction = make_device_reduction(group, {});
                Collectives::wait(*reduction->start_reduce_scatter_sum(sums_of(sums)));
              }),
              {"ncclReduceScatter failed: ", "rank 0 of 1"});
  }
  nccl_behaviour.operation = ncclSuccess;
  nccl_behaviour.event = cudaErrorLaunchFailure;
  expect_in(error_of_a_sum(group), {"cudaEventQuery failed: unspecified launch failure"});
  EXPECT_EQ(nccl_seen.aborts_begun, 7);
}

TEST_F(DeviceReductionTest, AfterAnErrorItIsOfNoMoreUse) {
  FragileGroup group;
  std::vector<int32_t> data{1};
  const auto reduction = make_device_reduction(group, {});
  nccl_behaviour.operation = ncclInternalError;
  const auto pending = reduction->start_all_reduce_sum(sums_of(data));
  expect_in(error_of([&] { Collectives::wait(*pending); }), {"internal error"});
  nccl_behaviour.operation = ncclSuccess;
  expect_in(error_of([&] { pending->test(); }), {"aborted"});
  expect_in(error_of([&] { reduction->start_all_reduce_sum(sums_of(data)); }), {"aborted"});
}

TEST_F(DeviceReductionTest, AnErrorThatComesOfALostRankLeavesTheLastWordToTheGroup) {
  FragileGroup group;
  nccl_behaviour.operation = ncclRemoteError;
  group.break_after(0.1);
  const Stopwatch watch;
  expect_in(error_of_a_sum(group, /*loss_limit_s=*/5), {"broken: "});
  EXPECT_LT(watch.elapsed_s(), 2);

  FragileGroup sound;
  const Stopwatch waiting;
  expect_in(error_of_a_sum(sound, /*loss_limit_s=*/0.2), {"remote process exited"});
  EXPECT_GT(waiting.elapsed_s(), 0.19);
}

TEST_F(DeviceReductionTest, ABrokenGroupEndsASumThatHangs) {
  FragileGroup group;
  nccl_behaviour.runs_for_ever = true;
  group.break_after(0.1);
  const Stopwatch watch;
  expect_in(error_of_a_sum(group), {"broken: a rank is lost"});
  EXPECT_LT(watch.elapsed_s(), 2);
  EXPECT_EQ(nccl_seen.aborts_begun, 1);
}

TEST_F(DeviceReductionTest, AnExceptionThatPassesAbortsAndDoesNotWait) {
  FragileGroup group;
  nccl_behaviour.runs_for_ever = true;
  std::vector<int32_t> data{1};
  const Stopwatch watch;
  expect_in(error_of([&] {
              const auto reduction = make_device_reduction(group, {});
              const auto pending = reduction->start_all_reduce_sum(sums_of(data));
              throw Error("of somebody else");
            }),
            {"of somebody else"});
  EXPECT_LT(watch.elapsed_s(), 2);
  EXPECT_EQ(nccl_seen.aborts_begun, 1);
  EXPECT_EQ(nccl_seen.destroyed, 0);
}

TEST_F(DeviceReductionTest, AnAbortThatHangsHoldsNobodyUp) {
  FragileGroup group;
  nccl_behaviour.aborts_for_ever = true;
  nccl_behaviour.operation = ncclRemoteError;
  const Stopwatch watch;
  expect_in(error_of_a_sum(group), {"remote process exited"});
  EXPECT_LT(watch.elapsed_s(), 8);
  EXPECT_EQ(nccl_seen.aborts_done, 0);
}

TEST_F(DeviceReductionTest, AnEndThatTheOthersDoNotJoinBecomesAnAbort) {
  FragileGroup group;
  nccl_behaviour.finalizes_for_ever = true;
  const Stopwatch watch;
  make_device_reduction(group, {});
  EXPECT_LT(watch.elapsed_s(), 8);
  EXPECT_EQ(nccl_seen.aborts_begun, 1);
  EXPECT_EQ(nccl_seen.destroyed, 0);
}

TEST_F(DeviceReductionTest, AnEndThatWaitsForRanksThatAreStoppedHoldsNobodyUp) {
  FragileGroup group;
  nccl_behaviour.destroys_for_ever = true;
  const Stopwatch watch;
  make_device_reduction(group, {});
  EXPECT_LT(watch.elapsed_s(), 8);
  EXPECT_EQ(nccl_seen.destroys_begun, 1);
  EXPECT_EQ(nccl_seen.destroyed, 0);
}

TEST_F(DeviceReductionTest, ItEndsAndAbortsBesideItsOwnDevice) {
  FragileGroup group;
  make_device_reduction(group, {.device_index = 2});
  EXPECT_EQ(nccl_seen.destroyed, 1);
  nccl_behaviour.operation = ncclRemoteError;
  std::vector<int32_t> data{1};
  expect_in(error_of([&] {
              const auto reduction = make_device_reduction(group, {.device_index = 3});
              Collectives::wait(*reduction->start_all_reduce_sum(sums_of(data)));
            }),
            {"remote process exited"});
  EXPECT_EQ(nccl_seen.aborts_done, 1);
}

TEST_F(DeviceReductionTest, ALibraryThatIsTooOldIsRefused) {
  FragileGroup group;
  nccl_behaviour.version = 21805;
  expect_in(error_of([&] { make_device_reduction(group, {}); }),
            {"NCCL 2.18.5: needed is 2.19 or newer", "--all-reduce mpi"});
  nccl_behaviour.version = 21900;
  EXPECT_EQ(error_of([&] { make_device_reduction(group, {}); }), "no error");
}

}  // namespace
}  // namespace eggroll
