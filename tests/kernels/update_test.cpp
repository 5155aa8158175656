// Reconstruction and step of the integer model on every device against the oracle, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"
#include "tests/support/devices.hpp"
#include "tests/support/oracle.hpp"

namespace eggroll {
namespace {

using oracle::numbers_of;
using oracle::Random;
using oracle::Start;
using oracle::start_parameters;
using oracle::Thresholds;
using test::device_on;
using test::devices;
using test::Egg;
using test::read_arena;
using test::reconstructed;
using test::write_arena;

LearnerSettings learner_of(const IntRnnShape& shape, const char* optimizer) {
  return {.layout = int_rnn_layout(shape), .optimizer = optimizer};
}

TEST(Update, ReconstructedSumsAreThoseOfTheOracle) {
  struct Population {
    uint32_t layers, width;
    int noise_rank;
    PairRange pairs;
  };
  const Population populations[] = {{1, 64, 1, {0, 1}},          {1, 64, 16, {11, 5}},
                                    {2, 64, 4, {16, 37}},        {1, 64, 1, {160, 700}},
                                    {1, 64, 16, {3, 700}},       {1, 256, 1, {7, 37}},
                                    {1, 64, 4, {4000000000, 16}}};
  Random random(6);
  for (const Population& p : populations) {
    LearnerSettings settings = learner_of({p.layers, p.width}, "sigma-delta");
    settings.seed = random();
    settings.noise_rank = p.noise_rank;
    const int threads = static_cast<int>(1 + random() % 2);
    std::vector<int16_t> d(p.pairs.count);
    for (int16_t& value : d)  // half of them 0
      value = static_cast<int16_t>(std::max(-2, std::min(2, static_cast<int>(random() % 9) - 4)));
    for (int16_t& value : d)
      if (random() % 2 == 0) value = 0;
    d[0] = -2;
    const Utilities utilities{12, p.pairs.first, d};
    const oracle::Vector expected = oracle::reconstruct(settings, utilities);
    for (const std::string& name : devices()) {
      SCOPED_TRACE(testing::Message()
                   << name << ", " << p.pairs.count << " pairs, width " << p.width << ", r "
                   << p.noise_rank << ", threads " << threads);
      const std::unique_ptr<Device> device = device_on(name, {.threads = threads});
      const std::unique_ptr<Learner> learner = device->make_learner(settings);
      EXPECT_TRUE(reconstructed(*learner, utilities, false) == expected);
      EXPECT_TRUE(reconstructed(*learner, utilities, true) == expected);
      const std::vector<int16_t> ties(d.size(), 0);
      EXPECT_TRUE(reconstructed(*learner, {12, p.pairs.first, ties}, false) ==
                  oracle::Vector(expected.size(), 0));
    }
  }
}

// Around the threshold and far beyond: 0, just below, exactly, several thresholds, the ends of the
// type.
int64_t random_evidence(int64_t threshold, bool wide, Random& random) {
  const int64_t end = wide ? int64_t{1} << 40 : INT32_MAX;
  const int64_t thresholds = random() % 4, offset = random() % 3;
  const uint64_t kind = random() % 8;
  int64_t value = 0;
  if (kind >= 2) value = threshold * thresholds + offset - 1;
  if (kind == 6) value = static_cast<int64_t>(random() % end);
  if (kind == 7) value = end;
  value = std::min(value, end);
  return random() % 2 == 0 ? value : -value;
}

// What steps before this one can have left in an accumulator: less than a threshold.
int32_t left_over(int64_t threshold, Random& random) {
  if (threshold == 0) return 0;
  return static_cast<int32_t>(static_cast<int64_t>(random() % (2 * threshold - 1)) -
                              (threshold - 1));
}

// Puts value(e) into the sums of a bucket, as messages between ranks would.
template <typename Value>
void fill_sums(Learner& learner, size_t bucket, bool wide, Value&& value) {
  const auto fill = [&](auto sums) {
    for (size_t e = 0; e < sums.size(); ++e)
      sums[e] = static_cast<typename decltype(sums)::value_type>(value(e));
  };
  wide ? fill(learner.wide_partial_update(bucket)) : fill(learner.partial_update(bucket));
}

constexpr int16_t kNoDifference[] = {0};

// The learner has been stepped by z once; parameters and accumulators, from before, move along.
void expect_stepped(Learner& learner, const LearnerSettings& settings, const Thresholds& thresholds,
                    const oracle::Vector& z, std::vector<int8_t>& parameters,
                    std::vector<int32_t>& accumulators) {
  EXPECT_EQ(oracle::step(settings, thresholds, z, parameters, accumulators),
            learner.take_changed());
  EXPECT_EQ(learner.take_changed(), 0u);
  EXPECT_TRUE(read_arena<int8_t>(learner, 0) == parameters);
  if (settings.optimizer == "threshold") return;
  EXPECT_TRUE(read_arena<int32_t>(learner, 1) == accumulators);
}

TEST(Update, StepsMoveParametersAndAccumulatorsAsTheOracleDoes) {
  const Thresholds rules[] = {{1, 1}, {1000, 700}, {5, 123456789}, {2000000000, 3}, {0, 0}};
  for (const std::string& name : devices()) {
    for (const char* rule_name : {"threshold", "sigma-delta"}) {
      Random random(7);
      const IntRnnShape shape{1, 64};
      const LearnerSettings settings = learner_of(shape, rule_name);
      const bool has_accumulators = settings.optimizer == "sigma-delta";
      const std::unique_ptr<Device> device = device_on(name);
      const std::unique_ptr<Learner> learner = device->make_learner(settings);
      std::vector<int8_t> parameters = start_parameters(shape, Start::full_range, random);
      for (const Thresholds& rule : rules) {
        // Threshold 0: every sum but 0 moves. Sigma-delta has no such case.
        if (rule.low_rank == 0 && has_accumulators) continue;
        for (bool wide : {false, true}) {
          SCOPED_TRACE(testing::Message() << name << " rule " << rule_name << " wide " << wide
                                          << " threshold " << rule.low_rank);
          oracle::Vector z;
          std::vector<int32_t> accumulators;
          for (const TensorSpec& tensor : settings.layout.tensors()) {
            const int64_t threshold = rule.of(tensor.noise);
            for (size_t e = 0; e < tensor.size(); ++e) {
              z.push_back(random_evidence(threshold, wide, random));
              accumulators.push_back(left_over(threshold, random));
            }
          }
          write_arena(*learner, 0, parameters);
          if (has_accumulators) write_arena(*learner, 1, accumulators);
          reconstructed(*learner, {0, 0, kNoDifference}, wide);  // makes room for the sums
          for (size_t b = 0; b < learner->buckets().size(); ++b) {
            const size_t offset = learner->buckets()[b].offset;
            fill_sums(*learner, b, wide, [&](size_t e) { return z[offset + e]; });
            learner->step(b, numbers_of(rule), wide);
          }
          expect_stepped(*learner, settings, rule, z, parameters, accumulators);
        }
      }
    }
  }
}

// Shard 1 of 3 of each bucket is stepped; what other ranks have stepped is put beside it.
TEST(Update, AShardIsSteppedAloneAndCompletedByTheParametersOfOthers) {
  const Thresholds rule{1000, 700};
  const std::vector<uint8_t> text = {'a', 'n', 'd', ' ', 's', 'o'};
  for (const std::string& name : devices())
    for (const char* rule_name : {"threshold", "sigma-delta"})
      for (bool wide : {false, true}) {
        SCOPED_TRACE(testing::Message() << name << " rule " << rule_name << " wide " << wide);
        Random random(9);
        const IntRnnSettings model{.shape = {1, 64}};
        const LearnerSettings settings = learner_of(model.shape, rule_name);
        const Egg egg(name, model, 1, rule_name);
        Learner* const learner = egg.learner.get();
        std::vector<int8_t> parameters = start_parameters(model.shape, Start::full_range, random);
        write_arena(*learner, 0, parameters);
        // Packed now; what the shards bring must be packed again.
        egg.model->score_streams(text, 1, 0, 1);
        std::vector<int32_t> accumulators(parameters.size());
        for (int32_t& value : accumulators) value = left_over(rule.product, random);
        if (settings.optimizer == "sigma-delta") write_arena(*learner, 1, accumulators);
        reconstructed(*learner, {0, 0, kNoDifference}, wide);  // makes room for the sums
        oracle::Vector z(parameters.size(), 0);
        for (size_t b = 0; b < learner->buckets().size(); ++b) {
          const UpdateBucket bucket = learner->buckets()[b];
          const Shard shard = shard_of_rank(bucket.size, 1, 3);
          fill_sums(*learner, b, wide, [&](size_t e) {
            const int64_t value = random_evidence(800, wide, random);
            if (e >= shard.first && e < shard.first + shard.count) z[bucket.offset + e] = value;
            return value;
          });
          learner->step_shard(b, shard, numbers_of(rule), wide);
        }
        expect_stepped(*learner, settings, rule, z, parameters, accumulators);
        for (size_t b = 0; b < learner->buckets().size(); ++b) {
          const UpdateBucket bucket = learner->buckets()[b];
          const Shard shard = shard_of_rank(bucket.size, 1, 3);
          const std::span<std::byte> bytes = learner->give_parameters(b, shard);
          EXPECT_EQ(bytes.size(), bucket.size);
          const std::span given(reinterpret_cast<int8_t*>(bytes.data()), bytes.size());
          for (size_t e = 0; e < given.size(); ++e) {
            int8_t& expected = parameters[bucket.at + e];
            if (e >= shard.first && e < shard.first + shard.count) {
              EXPECT_EQ(given[e], expected);
              continue;
            }
            given[e] = expected = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
          }
        }
        for (size_t b = 0; b < learner->buckets().size(); ++b) learner->take_parameters(b);
        EXPECT_TRUE(read_arena<int8_t>(*learner, 0) == parameters);
        EXPECT_EQ(egg.model->score_streams(text, 1, 0, 1).score_sum,
                  oracle::score_streams(model, parameters, text, 1, 0, 1).score_sum);
        EXPECT_EQ(learner->device_parameters(0).has_value(),
                  learner->device_partial_update(0, wide).has_value());
        EXPECT_THROW(
            learner->step_shard(0, {1, learner->buckets()[0].size}, numbers_of(rule), wide), Error);
      }
}

TEST(Update, ARankAloneStepsByWhatItHasReconstructed) {
  for (const std::string& name : devices())
    for (const char* rule_name : {"threshold", "sigma-delta"})
      for (int threads : {1, 3}) {
        SCOPED_TRACE(testing::Message()
                     << name << " rule " << rule_name << ", threads " << threads);
        Random random(8);
        const IntRnnSettings model{.shape = {2, 64}};
        const LearnerSettings settings = learner_of(model.shape, rule_name);
        const Egg egg(name, model, threads, rule_name);
        Learner* const learner = egg.learner.get();
        std::vector<int8_t> parameters = start_parameters(model.shape, Start::full_range, random);
        std::vector<int32_t> accumulators(parameters.size(), 0);
        write_arena(*learner, 0, parameters);
        if (settings.optimizer == "sigma-delta") write_arena(*learner, 1, accumulators);
        const Thresholds rule{1500, 4000};
        const std::vector<uint8_t> text = {'i', 'n', ' ', 't', 'h', 'e', ' ', 'b', 'e', 'g'};
        for (uint32_t epoch : {3u, 4u}) {
          std::vector<int16_t> d(40);
          for (int16_t& value : d) value = static_cast<int16_t>(static_cast<int>(random() % 5) - 2);
          const Utilities utilities{epoch, 5, d};
          learner->reconstruct_and_step(utilities, numbers_of(rule));
          const oracle::Vector z = oracle::reconstruct(settings, utilities);
          expect_stepped(*learner, settings, rule, z, parameters, accumulators);
          // The model runs with the parameters as they are now.
          EXPECT_EQ(egg.model->score_streams(text, 2, 0, 2).score_sum,
                    oracle::score_streams(model, parameters, text, 2, 0, 2).score_sum);
        }
      }
}

}  // namespace
}  // namespace eggroll
