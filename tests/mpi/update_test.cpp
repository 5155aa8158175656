// Sums of perturbations over ranks: exact whatever their size, 32 bits on the wire where they fit.
#include "coordinator/update.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/layout.hpp"
#include "common/noise.hpp"
#include "coordinator/records/run_state.hpp"
#include "kernels/optimizers.hpp"
#include "tests/support/devices.hpp"
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

// Numbers of which each kind of noise has its own.
ShapedSummary summary_with(uint64_t sum_magnitudes) {
  ShapedSummary summary{.sum_squares = 1, .sum_magnitudes = sum_magnitudes};
  summary.numbers.put(Noise::low_rank, SigmaDelta::Numbers{11});
  summary.numbers.put(Noise::product, SigmaDelta::Numbers{7});
  return summary;
}

UpdateReport update(GivenSums& learner, uint64_t sum_magnitudes, int noise_rank = 1,
                    DeviceReduction* devices = nullptr, StepMode step = StepMode::replicated) {
  return apply_update(learner, {mpi_world(), devices, step}, noise_rank,
                      summary_with(sum_magnitudes), {.noise_epoch = 3});
}

TEST(Update, EveryBucketIsSteppedOnceByTheSumOverRanksWithTheRuleOfThePlan) {
  for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide}) {
    const int64_t rank = mpi_world().rank(), ranks = mpi_world().size();
    GivenSums learner({{rank, -rank, 5}, {1000 + rank}, {0, 0, 0, rank * rank}});
    const UpdateReport report = update(learner, sum_magnitudes);
    EXPECT_EQ(report.changed, 1u + 2 + 3);
    EXPECT_FALSE(report.sums_travel_wide);
    EXPECT_EQ(learner.steps.size(), 3u);
    if (learner.steps.size() != 3) continue;
    const int64_t ranks_sum = ranks * (ranks - 1) / 2;
    int64_t squares = 0;
    for (int64_t r = 0; r < ranks; ++r) squares += r * r;
    EXPECT_EQ(learner.steps[0].z, (std::vector<int64_t>{ranks_sum, -ranks_sum, 5 * ranks}));
    EXPECT_EQ(learner.steps[1].z, (std::vector<int64_t>{1000 * ranks + ranks_sum}));
    EXPECT_EQ(learner.steps[2].z, (std::vector<int64_t>{0, 0, 0, squares}));
    for (size_t b = 0; b < 3; ++b) {
      EXPECT_EQ(learner.steps[b].bucket, b);
      EXPECT_FALSE(learner.steps[b].wide);
      EXPECT_EQ(learner.steps[b].numbers, summary_with(sum_magnitudes).numbers);
    }
  }
}

TEST(Update, KeepsSumsIn32BitsExactlyWhereTheNoiseBoundProvesThatTheyFit) {
  const auto is_wide = [](uint64_t sum_magnitudes, int noise_rank) {
    GivenSums learner(Sums{{1}});
    update(learner, sum_magnitudes, noise_rank);
    return learner.reconstructed_wide;
  };
  EXPECT_FALSE(is_wide(kSurelyNarrow, 1));
  EXPECT_TRUE(is_wide(kMaybeWide, 1));
  EXPECT_FALSE(is_wide(kSurelyNarrow / 16, 16));
  EXPECT_TRUE(is_wide(kSurelyNarrow / 16 + 1, 16));
}

TEST(Update, SumsFarBeyond32BitsAreExact) {
  const int64_t rank = mpi_world().rank();
  const int64_t huge = (int64_t{1} << 52) + 3 * rank + 1;
  GivenSums learner({{huge, -huge, rank}, {rank == 0 ? huge : -rank, 2}});
  EXPECT_TRUE(update(learner, kMaybeWide).sums_travel_wide);
  EXPECT_EQ(learner.steps.size(), 2u);
  if (learner.steps.size() != 2) return;
  const int64_t ranks = mpi_world().size(), ranks_sum = ranks * (ranks - 1) / 2;
  const int64_t total = (ranks << 52) + 3 * ranks_sum + ranks;
  EXPECT_EQ(learner.steps[0].z, (std::vector<int64_t>{total, -total, ranks_sum}));
  EXPECT_EQ(learner.steps[1].z,
            (std::vector<int64_t>{(int64_t{1} << 52) + 1 - ranks_sum, 2 * ranks}));
  EXPECT_TRUE(learner.steps[0].wide && learner.steps[1].wide);
}

TEST(Update, SumsUpToTheLargestInt32TravelNarrowAndOneMoreTravelsWide) {
  for (int64_t sign : {1, -1})
    for (int64_t beyond : {0, 1}) {
      // Together exactly 2^31 - 1, or 2^31, and the largest parts of the ranks add up to the same.
      const int64_t mine = sign * share_of(kInt32Max + beyond);
      GivenSums learner({{mine, 0, mine / 2}, {9}});
      const UpdateReport report = update(learner, kMaybeWide);
      EXPECT_EQ(report.sums_travel_wide, beyond == 1);
      EXPECT_EQ(learner.steps.size(), 2u);
      if (learner.steps.size() != 2) continue;
      EXPECT_EQ(learner.steps[0].wide, beyond == 1);
      EXPECT_EQ(learner.steps[0].z[0], sign * (kInt32Max + beyond));
      EXPECT_FALSE(learner.steps[1].wide) << "each bucket by itself";
      EXPECT_EQ(learner.steps[1].z[0], 9 * mpi_world().size());
    }
}

TEST(Update, OneRankWithLargeSumsMakesEveryRankSendWide) {
  for (int large = 0; large < mpi_world().size(); ++large) {
    const bool is_mine = mpi_world().rank() == large;
    GivenSums learner(Sums{{is_mine ? -(int64_t{1} << 31) : 1}});
    EXPECT_TRUE(update(learner, kMaybeWide).sums_travel_wide);
    EXPECT_EQ(learner.steps.at(0).z[0], -(int64_t{1} << 31) + mpi_world().size() - 1);
  }
}

TEST(Update, SumsOfDevicesMeetThereAndTheHostSeesNone) {
  const int64_t rank = mpi_world().rank(), ranks = mpi_world().size();
  const int64_t ranks_sum = ranks * (ranks - 1) / 2, huge = int64_t{1} << 52;
  for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide}) {
    const bool wide = sum_magnitudes == kMaybeWide;
    GivenSums learner({{rank, 5}, {wide ? huge + rank : rank}}, /*is_on_device=*/true);
    CountingReduction devices;
    const UpdateReport report = update(learner, sum_magnitudes, 1, &devices);
    EXPECT_EQ(report.changed, 1u + 2);
    EXPECT_EQ(report.sums_travel_wide, wide);
    EXPECT_EQ(learner.given_to_host, 0);
    EXPECT_EQ(learner.given_to_device, ranks == 1 ? 0 : 2);
    EXPECT_EQ(devices.narrow, ranks == 1 ? 0 : wide ? 1 : 2);
    EXPECT_EQ(devices.wide, ranks == 1 ? 0 : wide ? 1 : 0);
    EXPECT_EQ(learner.steps.size(), 2u);
    if (learner.steps.size() != 2) continue;
    EXPECT_EQ(learner.steps[0].z, (std::vector<int64_t>{ranks_sum, 5 * ranks}));
    EXPECT_EQ(learner.steps[1].z, (std::vector<int64_t>{(wide ? huge * ranks : 0) + ranks_sum}));
    EXPECT_EQ(learner.steps[1].wide, wide);
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
      GivenSums learner(own, is_on_device);
      CountingReduction devices;
      const UpdateReport report = update(learner, sum_magnitudes, 1, &devices, StepMode::sharded);
      EXPECT_EQ(report.changed, (1u + 2) * ranks) << "of all ranks";
      EXPECT_EQ(report.sums_travel_wide, wide);
      EXPECT_EQ(learner.steps.size(), 2u);
      if (learner.steps.size() != 2) continue;
      for (size_t b = 0; b < 2; ++b) {
        const GivenSums::Step& step = learner.steps[b];
        const Shard mine = shard_of_rank(own[b].size(), rank, ranks);
        EXPECT_EQ(step.bucket, b);
        EXPECT_EQ(step.shard.first, mine.first);
        EXPECT_EQ(step.shard.count, mine.count);
        EXPECT_EQ(step.wide, wide && b == 1);
        EXPECT_EQ(step.numbers, summary_with(sum_magnitudes).numbers);
        for (size_t i = 0; i < mine.count; ++i) EXPECT_EQ(step.z[i], total(b, mine.first + i));
        const std::vector<int8_t> parameters = learner.parameters(b);
        for (size_t i = 0; i < parameters.size(); ++i)
          EXPECT_EQ(parameters[i], static_cast<int8_t>(total(b, i)));
      }
      const bool is_alone = ranks == 1;
      EXPECT_EQ(learner.taken, is_alone ? std::vector<size_t>{} : (std::vector<size_t>{0, 1}));
      const int on_devices = is_alone || !is_on_device ? 0 : 2;
      const int on_hosts = is_alone || is_on_device ? 0 : 2;
      EXPECT_EQ(learner.given_to_host, on_hosts);
      EXPECT_EQ(learner.given_to_device, on_devices);
      EXPECT_EQ(learner.parameters_given_to_host, on_hosts);
      EXPECT_EQ(learner.parameters_given_to_device, on_devices);
      EXPECT_EQ(devices.narrow + devices.wide, on_devices);
      EXPECT_EQ(devices.gathered, on_devices);
    }
}

TEST(Update, WhatABrokenOffUpdateHasChangedIsNotCountedInTheNext) {
  for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide})
    for (StepMode step : {StepMode::replicated, StepMode::sharded}) {
      GivenSums learner({{1, 2}, {3, 4}});
      learner.step(1, {}, false);
      learner.steps.clear();
      const UpdateReport report = update(learner, sum_magnitudes, 1, nullptr, step);
      const uint64_t counted = step == StepMode::sharded ? mpi_world().size() : 1;
      EXPECT_EQ(report.changed, (1u + 2) * counted);
    }
}

TEST(Update, SumsOfDevicesWithoutAReductionOfTheirOwnMeetInTheMemoryOfTheHosts) {
  const int ranks = mpi_world().size();
  GivenSums learner(Sums{{1}, {2}}, /*is_on_device=*/true);
  update(learner, 5);
  EXPECT_EQ(learner.given_to_device, 0);
  EXPECT_EQ(learner.given_to_host, ranks == 1 ? 0 : 2);
  EXPECT_EQ(learner.steps.at(1).z, std::vector<int64_t>{2 * ranks});
}

TEST(Update, SumsInTheMemoryOfTheHostMeetThereWhateverIsGiven) {
  GivenSums learner(Sums{{1}, {2}});
  CountingReduction devices;
  update(learner, 5, 1, &devices);
  EXPECT_EQ(devices.narrow + devices.wide, 0);
  EXPECT_EQ(learner.steps.at(1).z, std::vector<int64_t>{2 * mpi_world().size()});
}

TEST(Update, TheSumsOfOneRankStayWhereTheyAre) {
  SoloCollectives solo;
  for (bool is_on_device : {false, true})
    for (uint64_t sum_magnitudes : {uint64_t{5}, kMaybeWide}) {
      GivenSums learner({{3, -4}, {5}}, is_on_device);
      CountingReduction devices;
      apply_update(learner, {solo, &devices}, 1, summary_with(sum_magnitudes), {.noise_epoch = 3});
      EXPECT_EQ(learner.given_to_host + learner.given_to_device, 0);
      EXPECT_EQ(devices.narrow + devices.wide, 0);
      EXPECT_EQ(learner.steps.at(0).z, (std::vector<int64_t>{3, -4}));
      EXPECT_EQ(learner.steps.at(1).z, std::vector<int64_t>{5});
    }
}

// The real learners from here on.

// int8 as the language model has it; floats of every role and noise, with sizes of no multiple.
ParameterLayout floats() {
  ParameterLayout layout;
  layout.add("W", Role::matrix, Noise::low_rank, Element::float32, 130, 70);
  layout.add("still", Role::matrix, Noise::none, Element::float32, 3, 5);
  layout.add("emb", Role::embedding, Noise::full, Element::float32, 9, 65);
  layout.add("b", Role::vector, Noise::full, Element::float32, 33, 1);
  return layout;
}

std::vector<int16_t> random_utilities(size_t pairs, int largest) {
  std::mt19937_64 random(12);
  std::vector<int16_t> d(pairs);
  for (int16_t& v : d)
    v = static_cast<int16_t>(static_cast<int>(random() % (2 * largest + 1)) - largest);
  return d;
}

std::string digest_after_updates(const std::string& name, const Reduction& reduction,
                                 const char* optimizer, int noise_rank, uint64_t sum_magnitudes) {
  constexpr uint64_t kPairs = 75;  // five tiles, the last one not full
  const OptimizerType& type = optimizer_type(optimizer);
  const bool is_float = type.moves == Element::float32;
  const std::unique_ptr<Device> device =
      name.empty() ? make_device("cpu", {.threads = 2}) : test::device_on(name, {.threads = 2});
  const std::unique_ptr<Learner> learner =
      device->make_learner({.layout = is_float ? floats() : int_rnn_layout({1, 64}),
                            .seed = 5,
                            .noise_rank = noise_rank,
                            .optimizer = optimizer});
  const PairRange mine = pairs_of_rank(kPairs, reduction.group.rank(), reduction.group.size());
  std::vector<std::byte> parameters(learner->layout().bytes());
  if (is_float)
    for (size_t i = 0; i < parameters.size() / sizeof(float); ++i) {
      const float value = static_cast<float>(i % 37) - 18;
      std::memcpy(parameters.data() + i * sizeof value, &value, sizeof value);
    }
  const std::vector<int8_t> start = int_rnn_initial_parameters({1, 64}, 5);
  if (!is_float) std::ranges::copy(std::as_bytes(std::span(start)), parameters.begin());
  write_state(*learner, start_state(learner->layout(), optimizer, parameters));
  const std::vector<int16_t> d = random_utilities(kPairs, is_float ? kLargestUtility : 2);
  const StepContext context{
      .generations = 10, .population = 150, .sum_squares = 150, .noise_rank = noise_rank};
  ShapedSummary summary{.sum_squares = 1, .sum_magnitudes = sum_magnitudes};
  summary.numbers = type.numbers({}, context);
  for (uint32_t epoch : {0u, 1u, 1u, 7u})
    apply_update(*learner, reduction, noise_rank, summary,
                 {epoch, mine.first, std::span(d).subspan(mine.first, mine.count)});
  if (reduction.step == StepMode::sharded)
    gather_slots(*learner, type.slots.size(), reduction.group);
  return current_digest(*learner, optimizer);
}

TEST(Update, NarrowAndWideSumsGiveTheSameParametersOnAnyNumberOfRanksAndDevices) {
  for (const std::string& name : test::devices())
    for (const char* optimizer : {"threshold", "sigma-delta", "sgd", "adamw"})
      for (int noise_rank : {1, 4}) {
        SoloCollectives solo;
        const bool is_float = optimizer_type(optimizer).moves == Element::float32;
        const uint64_t narrow = is_float ? 100'000 : 150;
        const std::string alone = digest_after_updates("", {solo}, optimizer, noise_rank, narrow);
        CountingReduction devices;
        for (DeviceReduction* where :
             {static_cast<DeviceReduction*>(nullptr), static_cast<DeviceReduction*>(&devices)})
          for (StepMode step : {StepMode::replicated, StepMode::sharded})
            for (uint64_t sum_magnitudes : {narrow, kMaybeWide})
              EXPECT_EQ(digest_after_updates(name, {mpi_world(), where, step}, optimizer,
                                             noise_rank, sum_magnitudes),
                        alone)
                  << name << " " << optimizer << (where ? ", sums met on the devices" : "")
                  << (step == StepMode::sharded ? ", sharded" : "");
        const bool meets_there = name == "cuda" && mpi_world().size() > 1;
        EXPECT_EQ(devices.narrow > 0, meets_there) << name;
      }
}

}  // namespace
}  // namespace eggroll
