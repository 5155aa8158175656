// Sums of evidence over ranks: exact whatever their size, 32 bits on the wire where they fit.
#include "coordinator/update.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/files/checkpoint.hpp"
#include "common/noise.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/given_sums.hpp"
#include "tests/support/mpi_world.hpp"
#include "tests/support/solo_collectives.hpp"

namespace eggroll {
namespace {

using test::CountingReduction;
using test::GivenSums;
using test::mpi_world;
using test::SoloCollectives;
using test::Sums;

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

// |Z| <= 63^2 sum |d|: below the first the sums are known to fit 32 bits, from the second on not.
constexpr uint64_t kSurelyNarrow = kInt32Max / (kNoiseMax * kNoiseMax);
constexpr uint64_t kMaybeWide = kSurelyNarrow + 1;

// Parts that the ranks' sums are made of: rank r has total / ranks, the last one the rest too.
int64_t share_of(int64_t total) {
  const int64_t ranks = mpi_world().size();
  const int64_t part = total / ranks;
  return mpi_world().rank() == ranks - 1 ? total - part * (ranks - 1) : part;
}

ShapedSummary summary_with(uint64_t sum_magnitudes) {
  return {.sum_squares = 1,
          .sum_magnitudes = sum_magnitudes,
          .matrix_threshold = 11,
          .vector_threshold = 7};
}

UpdateReport update(GivenSums& backend, uint64_t sum_magnitudes, int noise_rank = 1,
                    DeviceReduction* devices = nullptr, StepMode step = StepMode::replicated) {
  return apply_update(backend, {mpi_world(), devices, step}, 3, noise_rank,
                      summary_with(sum_magnitudes), {});
}

TEST(Update, EveryBucketIsSteppedOnceByTheSumOverRanksWithTheRuleOfThePlan) {
  for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide}) {
    const int64_t rank = mpi_world().rank(), ranks = mpi_world().size();
    GivenSums backend({{rank, -rank, 5}, {1000 + rank}, {0, 0, 0, rank * rank}});
    const UpdateReport report = update(backend, sum_magnitudes);
    EXPECT_EQ(report.changed, 1u + 2 + 3);
    EXPECT_FALSE(report.sums_travel_wide);
    EXPECT_EQ(backend.steps.size(), 3u);
    if (backend.steps.size() != 3) continue;
    const int64_t ranks_sum = ranks * (ranks - 1) / 2;
    int64_t squares = 0;
    for (int64_t r = 0; r < ranks; ++r) squares += r * r;
    EXPECT_EQ(backend.steps[0].z, (std::vector<int64_t>{ranks_sum, -ranks_sum, 5 * ranks}));
    EXPECT_EQ(backend.steps[1].z, (std::vector<int64_t>{1000 * ranks + ranks_sum}));
    EXPECT_EQ(backend.steps[2].z, (std::vector<int64_t>{0, 0, 0, squares}));
    for (size_t b = 0; b < 3; ++b) {
      EXPECT_EQ(backend.steps[b].bucket, b);
      EXPECT_FALSE(backend.steps[b].wide);
      EXPECT_EQ(backend.steps[b].rule.matrix_threshold, 11);
      EXPECT_EQ(backend.steps[b].rule.vector_threshold, 7);
    }
  }
}

TEST(Update, KeepsSumsIn32BitsExactlyWhereTheNoiseBoundProvesThatTheyFit) {
  const auto is_wide = [](uint64_t sum_magnitudes, int noise_rank) {
    GivenSums backend(Sums{{1}});
    update(backend, sum_magnitudes, noise_rank);
    return backend.reconstructed_wide;
  };
  EXPECT_FALSE(is_wide(kSurelyNarrow, 1));
  EXPECT_TRUE(is_wide(kMaybeWide, 1));
  EXPECT_FALSE(is_wide(kSurelyNarrow / 16, 16));
  EXPECT_TRUE(is_wide(kSurelyNarrow / 16 + 1, 16));
}

TEST(Update, SumsFarBeyond32BitsAreExact) {
  const int64_t rank = mpi_world().rank();
  const int64_t huge = (int64_t{1} << 52) + 3 * rank + 1;
  GivenSums backend({{huge, -huge, rank}, {rank == 0 ? huge : -rank, 2}});
  EXPECT_TRUE(update(backend, kMaybeWide).sums_travel_wide);
  EXPECT_EQ(backend.steps.size(), 2u);
  if (backend.steps.size() != 2) return;
  const int64_t ranks = mpi_world().size(), ranks_sum = ranks * (ranks - 1) / 2;
  const int64_t total = (ranks << 52) + 3 * ranks_sum + ranks;
  EXPECT_EQ(backend.steps[0].z, (std::vector<int64_t>{total, -total, ranks_sum}));
  EXPECT_EQ(backend.steps[1].z,
            (std::vector<int64_t>{(int64_t{1} << 52) + 1 - ranks_sum, 2 * ranks}));
  EXPECT_TRUE(backend.steps[0].wide && backend.steps[1].wide);
}

TEST(Update, SumsUpToTheLargestInt32TravelNarrowAndOneMoreTravelsWide) {
  for (int64_t sign : {1, -1})
    for (int64_t beyond : {0, 1}) {
      // Together exactly 2^31 - 1, or 2^31, and the largest parts of the ranks add up to the same.
      const int64_t mine = sign * share_of(kInt32Max + beyond);
      GivenSums backend({{mine, 0, mine / 2}, {9}});
      const UpdateReport report = update(backend, kMaybeWide);
      EXPECT_EQ(report.sums_travel_wide, beyond == 1);
      EXPECT_EQ(backend.steps.size(), 2u);
      if (backend.steps.size() != 2) continue;
      EXPECT_EQ(backend.steps[0].wide, beyond == 1);
      EXPECT_EQ(backend.steps[0].z[0], sign * (kInt32Max + beyond));
      EXPECT_FALSE(backend.steps[1].wide) << "each bucket by itself";
      EXPECT_EQ(backend.steps[1].z[0], 9 * mpi_world().size());
    }
}

TEST(Update, OneRankWithLargeSumsMakesEveryRankSendWide) {
  for (int large = 0; large < mpi_world().size(); ++large) {
    const bool is_mine = mpi_world().rank() == large;
    GivenSums backend(Sums{{is_mine ? -(int64_t{1} << 31) : 1}});
    EXPECT_TRUE(update(backend, kMaybeWide).sums_travel_wide);
    EXPECT_EQ(backend.steps.at(0).z[0], -(int64_t{1} << 31) + mpi_world().size() - 1);
  }
}

TEST(Update, SumsOfDevicesMeetThereAndTheHostSeesNone) {
  const int64_t rank = mpi_world().rank(), ranks = mpi_world().size();
  const int64_t ranks_sum = ranks * (ranks - 1) / 2, huge = int64_t{1} << 52;
  for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide}) {
    const bool wide = sum_magnitudes == kMaybeWide;
    GivenSums backend({{rank, 5}, {wide ? huge + rank : rank}}, /*is_on_device=*/true);
    CountingReduction devices;
    const UpdateReport report = update(backend, sum_magnitudes, 1, &devices);
    EXPECT_EQ(report.changed, 1u + 2);
    EXPECT_EQ(report.sums_travel_wide, wide);
    EXPECT_EQ(backend.given_to_host, 0);
    EXPECT_EQ(backend.given_to_device, ranks == 1 ? 0 : 2);
    EXPECT_EQ(devices.narrow, ranks == 1 ? 0 : wide ? 1 : 2);
    EXPECT_EQ(devices.wide, ranks == 1 ? 0 : wide ? 1 : 0);
    EXPECT_EQ(backend.steps.size(), 2u);
    if (backend.steps.size() != 2) continue;
    EXPECT_EQ(backend.steps[0].z, (std::vector<int64_t>{ranks_sum, 5 * ranks}));
    EXPECT_EQ(backend.steps[1].z, (std::vector<int64_t>{(wide ? huge * ranks : 0) + ranks_sum}));
    EXPECT_EQ(backend.steps[1].wide, wide);
  }
}

// 5 and 9 elements, which shards never divide evenly.
TEST(Update, EachRankStepsItsShardAndTheParametersOfAllMeetWhereTheyAre) {
  const int rank = mpi_world().rank(), ranks = mpi_world().size();
  const int64_t ranks_sum = int64_t{ranks} * (ranks - 1) / 2, huge = int64_t{1} << 52;
  for (bool is_on_device : {false, true})
    for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide}) {
      const bool wide = sum_magnitudes == kMaybeWide;
      SCOPED_TRACE(testing::Message() << "device " << is_on_device << ", wide " << wide);
      Sums own(2);
      for (int64_t i = 0; i < 9; ++i) {
        if (i < 5) own[0].push_back(i + rank);
        own[1].push_back(wide ? huge + 2 * i * rank : 2 * i * rank);
      }
      const auto total = [&](size_t b, size_t i) {
        const auto k = static_cast<int64_t>(i);
        return b == 0 ? k * ranks + ranks_sum : (wide ? huge * ranks : 0) + 2 * k * ranks_sum;
      };
      GivenSums backend(own, is_on_device);
      CountingReduction devices;
      const UpdateReport report = update(backend, sum_magnitudes, 1, &devices, StepMode::sharded);
      EXPECT_EQ(report.changed, (1u + 2) * ranks) << "of all ranks";
      EXPECT_EQ(report.sums_travel_wide, wide);
      EXPECT_EQ(backend.steps.size(), 2u);
      if (backend.steps.size() != 2) continue;
      for (size_t b = 0; b < 2; ++b) {
        const GivenSums::Step& step = backend.steps[b];
        const Shard mine = shard_of_rank(own[b].size(), rank, ranks);
        EXPECT_EQ(step.bucket, b);
        EXPECT_EQ(step.shard.first, mine.first);
        EXPECT_EQ(step.shard.count, mine.count);
        EXPECT_EQ(step.wide, wide && b == 1);
        EXPECT_EQ(step.rule.matrix_threshold, 11);
        for (size_t i = 0; i < mine.count; ++i) EXPECT_EQ(step.z[i], total(b, mine.first + i));
        const std::vector<int8_t> parameters = backend.parameters(b);
        for (size_t i = 0; i < parameters.size(); ++i)
          EXPECT_EQ(parameters[i], static_cast<int8_t>(total(b, i)));
      }
      const bool is_alone = ranks == 1;
      EXPECT_EQ(backend.taken, is_alone ? std::vector<size_t>{} : (std::vector<size_t>{0, 1}));
      const int on_devices = is_alone || !is_on_device ? 0 : 2;
      const int on_hosts = is_alone || is_on_device ? 0 : 2;
      EXPECT_EQ(backend.given_to_host, on_hosts);
      EXPECT_EQ(backend.given_to_device, on_devices);
      EXPECT_EQ(backend.parameters_given_to_host, on_hosts);
      EXPECT_EQ(backend.parameters_given_to_device, on_devices);
      EXPECT_EQ(devices.narrow + devices.wide, on_devices);
      EXPECT_EQ(devices.gathered, on_devices);
    }
}

TEST(Update, WhatABrokenOffUpdateHasChangedIsNotCountedInTheNext) {
  for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide})
    for (StepMode step : {StepMode::replicated, StepMode::sharded}) {
      GivenSums backend({{1, 2}, {3, 4}});
      backend.step(1, {}, false);
      backend.steps.clear();
      const UpdateReport report = update(backend, sum_magnitudes, 1, nullptr, step);
      const uint64_t counted = step == StepMode::sharded ? mpi_world().size() : 1;
      EXPECT_EQ(report.changed, (1u + 2) * counted);
    }
}

TEST(Update, SumsOfDevicesWithoutAReductionOfTheirOwnMeetInTheMemoryOfTheHosts) {
  const int ranks = mpi_world().size();
  GivenSums backend(Sums{{1}, {2}}, /*is_on_device=*/true);
  update(backend, 5);
  EXPECT_EQ(backend.given_to_device, 0);
  EXPECT_EQ(backend.given_to_host, ranks == 1 ? 0 : 2);
  EXPECT_EQ(backend.steps.at(1).z, std::vector<int64_t>{2 * ranks});
}

TEST(Update, SumsInTheMemoryOfTheHostMeetThereWhateverIsGiven) {
  GivenSums backend(Sums{{1}, {2}});
  CountingReduction devices;
  update(backend, 5, 1, &devices);
  EXPECT_EQ(devices.narrow + devices.wide, 0);
  EXPECT_EQ(backend.steps.at(1).z, std::vector<int64_t>{2 * mpi_world().size()});
}

TEST(Update, TheSumsOfOneRankStayWhereTheyAre) {
  SoloCollectives solo;
  for (bool is_on_device : {false, true})
    for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide}) {
      GivenSums backend({{3, -4}, {5}}, is_on_device);
      CountingReduction devices;
      apply_update(backend, {solo, &devices}, 3, 1, summary_with(sum_magnitudes), {});
      EXPECT_EQ(backend.given_to_host + backend.given_to_device, 0);
      EXPECT_EQ(devices.narrow + devices.wide, 0);
      EXPECT_EQ(backend.steps.at(0).z, (std::vector<int64_t>{3, -4}));
      EXPECT_EQ(backend.steps.at(1).z, std::vector<int64_t>{5});
    }
}

// The real backends from here on.

std::vector<int8_t> random_differences(size_t pairs) {
  std::mt19937_64 random(12);
  std::vector<int8_t> d(pairs);
  for (int8_t& v : d) v = static_cast<int8_t>(static_cast<int>(random() % 5) - 2);
  return d;
}

std::string digest_after_updates(const std::string& name, const Meeting& meeting, UpdateRule rule,
                                 int noise_rank, uint64_t sum_magnitudes) {
  constexpr uint64_t kPairs = 75;  // five tiles, the last one not full
  const BackendSettings settings{
      .shape = {1, 64}, .seed = 5, .noise_rank = noise_rank, .update = rule, .threads = 2};
  const std::unique_ptr<Backend> backend =
      name.empty() ? make_backend("cpu", settings) : test::backend_on(name, settings);
  const PairRange mine = pairs_of_rank(kPairs, meeting.group.rank(), meeting.group.size());
  backend->assign_pairs(mine);
  backend->write_parameters(int_rnn_initial_parameters(settings.shape, settings.seed));
  const std::vector<int8_t> d = random_differences(kPairs);
  const ShapedSummary summary{.sum_squares = 1,
                              .sum_magnitudes = sum_magnitudes,
                              .matrix_threshold = 3000,
                              .vector_threshold = 1500};
  for (uint32_t epoch : {0u, 1u, 1u, 7u})
    apply_update(*backend, meeting, epoch, noise_rank, summary,
                 std::span(d).subspan(mine.first, mine.count));
  if (meeting.step == StepMode::sharded && rule == UpdateRule::sigma_delta)
    gather_accumulators(*backend, meeting.group);
  std::vector<int8_t> parameters(backend->layout().size());
  std::vector<int32_t> accumulators(rule == UpdateRule::sigma_delta ? parameters.size() : 0);
  backend->read_parameters(parameters);
  backend->read_accumulators(accumulators);
  return parameters_digest(parameters, accumulators);
}

TEST(Update, NarrowAndWideSumsGiveTheSameParametersOnAnyNumberOfRanksAndBackends) {
  for (const std::string& name : test::backends())
    for (UpdateRule rule : {UpdateRule::threshold, UpdateRule::sigma_delta})
      for (int noise_rank : {1, 4}) {
        SoloCollectives solo;
        const std::string alone = digest_after_updates("", {solo}, rule, noise_rank, 150);
        CountingReduction devices;
        for (DeviceReduction* where :
             {static_cast<DeviceReduction*>(nullptr), static_cast<DeviceReduction*>(&devices)})
          for (StepMode step : {StepMode::replicated, StepMode::sharded})
            for (uint64_t sum_magnitudes : {uint64_t{150}, kMaybeWide})
              EXPECT_EQ(digest_after_updates(name, {mpi_world(), where, step}, rule, noise_rank,
                                             sum_magnitudes),
                        alone)
                  << name << (where ? ", sums met on the devices" : "")
                  << (step == StepMode::sharded ? ", sharded" : "");
        const bool meets_there = name == "cuda" && mpi_world().size() > 1;
        EXPECT_EQ(devices.narrow > 0, meets_there) << name;
      }
}

}  // namespace
}  // namespace eggroll
