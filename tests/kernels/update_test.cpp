// Reconstruction and step of the CPU backend against the oracle, bit for bit, on every instruction
// set this machine has.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "kernels/backend.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/oracle.hpp"

namespace eggroll {
namespace {

using oracle::Random;
using oracle::Start;
using oracle::start_parameters;
using test::backend_on;
using test::backends;
using test::reconstructed;

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
    BackendSettings settings;
    settings.shape = {p.layers, p.width};
    settings.seed = random();
    settings.noise_rank = p.noise_rank;
    settings.threads = static_cast<int>(1 + random() % 2);
    std::vector<int8_t> d(p.pairs.count);
    for (int8_t& value : d)  // half of them 0
      value = static_cast<int8_t>(std::max(-2, std::min(2, static_cast<int>(random() % 9) - 4)));
    for (int8_t& value : d)
      if (random() % 2 == 0) value = 0;
    d[0] = -2;
    const oracle::Vector expected = oracle::reconstruct(settings, p.pairs, 12, d);
    for (const std::string& name : backends()) {
      SCOPED_TRACE(testing::Message()
                   << name << ", " << p.pairs.count << " pairs, width " << p.width << ", r "
                   << p.noise_rank << ", threads " << settings.threads);
      const std::unique_ptr<Backend> backend = backend_on(name, settings);
      backend->assign_pairs(p.pairs);
      EXPECT_TRUE(reconstructed(*backend, 12, d, false) == expected);
      EXPECT_TRUE(reconstructed(*backend, 12, d, true) == expected);
      const std::vector<int8_t> ties(d.size(), 0);
      EXPECT_TRUE(reconstructed(*backend, 12, ties, false) == oracle::Vector(expected.size(), 0));
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
void fill_sums(Backend& backend, size_t bucket, bool wide, Value&& value) {
  const auto fill = [&](auto sums) {
    for (size_t e = 0; e < sums.size(); ++e)
      sums[e] = static_cast<typename decltype(sums)::value_type>(value(e));
  };
  wide ? fill(backend.wide_partial_update(bucket)) : fill(backend.partial_update(bucket));
}

// The backend has been stepped by z once; parameters and accumulators, from before, move along.
void expect_stepped(Backend& backend, const BackendSettings& settings, const StepRule& rule,
                    const oracle::Vector& z, std::vector<int8_t>& parameters,
                    std::vector<int32_t>& accumulators) {
  EXPECT_EQ(oracle::step(settings, rule, z, parameters, accumulators), backend.take_changed());
  EXPECT_EQ(backend.take_changed(), 0u);
  std::vector<int8_t> moved(parameters.size());
  backend.read_parameters(moved);
  EXPECT_TRUE(moved == parameters);
  if (settings.update == UpdateRule::threshold) return;
  std::vector<int32_t> left(accumulators.size());
  backend.read_accumulators(left);
  EXPECT_TRUE(left == accumulators);
}

TEST(Update, StepsMoveParametersAndAccumulatorsAsTheOracleDoes) {
  const StepRule rules[] = {{1, 1}, {1000, 700}, {5, 123456789}, {2000000000, 3}, {0, 0}};
  for (const std::string& name : backends()) {
    for (UpdateRule update : {UpdateRule::threshold, UpdateRule::sigma_delta}) {
      Random random(7);
      BackendSettings settings;
      settings.shape = {1, 64};
      settings.update = update;
      const std::unique_ptr<Backend> backend = backend_on(name, settings);
      backend->assign_pairs({0, 1});
      std::vector<int8_t> parameters = start_parameters(settings.shape, Start::full_range, random);
      const ParameterLayout layout = int_rnn_layout(settings.shape);
      for (const StepRule& rule : rules) {
        // Threshold 0: every sum but 0 moves. Sigma-delta has no such case.
        if (rule.matrix_threshold == 0 && update == UpdateRule::sigma_delta) continue;
        for (bool wide : {false, true}) {
          SCOPED_TRACE(testing::Message()
                       << name << " rule " << static_cast<int>(update) << " wide " << wide
                       << " threshold " << rule.matrix_threshold);
          oracle::Vector z;
          std::vector<int32_t> accumulators;
          for (const TensorSpec& tensor : layout.tensors()) {
            const bool is_vector = tensor.kind == TensorKind::vector;
            const int64_t threshold = is_vector ? rule.vector_threshold : rule.matrix_threshold;
            for (size_t e = 0; e < tensor.size(); ++e) {
              z.push_back(random_evidence(threshold, wide, random));
              accumulators.push_back(left_over(threshold, random));
            }
          }
          backend->write_parameters(parameters);
          if (update == UpdateRule::sigma_delta) backend->write_accumulators(accumulators);
          reconstructed(*backend, 0, std::vector<int8_t>{0}, wide);  // makes room for the sums
          for (size_t b = 0; b < backend->buckets().size(); ++b) {
            const size_t offset = backend->buckets()[b].offset;
            fill_sums(*backend, b, wide, [&](size_t e) { return z[offset + e]; });
            backend->step(b, rule, wide);
          }
          expect_stepped(*backend, settings, rule, z, parameters, accumulators);
        }
      }
    }
  }
}

// Shard 1 of 3 of each bucket is stepped; what other ranks have stepped is put beside it.
TEST(Update, AShardIsSteppedAloneAndCompletedByTheParametersOfOthers) {
  const StepRule rule{1000, 700};
  const std::vector<uint8_t> text = {'a', 'n', 'd', ' ', 's', 'o'};
  for (const std::string& name : backends())
    for (UpdateRule update : {UpdateRule::threshold, UpdateRule::sigma_delta})
      for (bool wide : {false, true}) {
        SCOPED_TRACE(testing::Message()
                     << name << " rule " << static_cast<int>(update) << " wide " << wide);
        Random random(9);
        BackendSettings settings;
        settings.shape = {1, 64};
        settings.update = update;
        const std::unique_ptr<Backend> backend = backend_on(name, settings);
        backend->assign_pairs({0, 1});
        std::vector<int8_t> parameters =
            start_parameters(settings.shape, Start::full_range, random);
        backend->write_parameters(parameters);
        // Packed now; what the shards bring must be packed again.
        backend->score_streams(text, 1, 0, 1);
        std::vector<int32_t> accumulators(parameters.size());
        for (int32_t& value : accumulators) value = left_over(rule.vector_threshold, random);
        if (update == UpdateRule::sigma_delta) backend->write_accumulators(accumulators);
        reconstructed(*backend, 0, std::vector<int8_t>{0}, wide);  // makes room for the sums
        oracle::Vector z(parameters.size(), 0);
        for (size_t b = 0; b < backend->buckets().size(); ++b) {
          const UpdateBucket bucket = backend->buckets()[b];
          const Shard shard = shard_of_rank(bucket.size, 1, 3);
          fill_sums(*backend, b, wide, [&](size_t e) {
            const int64_t value = random_evidence(800, wide, random);
            if (e >= shard.first && e < shard.first + shard.count) z[bucket.offset + e] = value;
            return value;
          });
          backend->step_shard(b, shard, rule, wide);
        }
        expect_stepped(*backend, settings, rule, z, parameters, accumulators);
        for (size_t b = 0; b < backend->buckets().size(); ++b) {
          const UpdateBucket bucket = backend->buckets()[b];
          const Shard shard = shard_of_rank(bucket.size, 1, 3);
          const std::span<int8_t> given = backend->give_parameters(b, shard);
          EXPECT_EQ(given.size(), bucket.size);
          for (size_t e = 0; e < given.size(); ++e) {
            int8_t& expected = parameters[bucket.offset + e];
            if (e >= shard.first && e < shard.first + shard.count) {
              EXPECT_EQ(given[e], expected);
              continue;
            }
            given[e] = expected = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
          }
        }
        for (size_t b = 0; b < backend->buckets().size(); ++b) backend->take_parameters(b);
        std::vector<int8_t> whole(parameters.size());
        backend->read_parameters(whole);
        EXPECT_TRUE(whole == parameters);
        EXPECT_EQ(backend->score_streams(text, 1, 0, 1).score_sum,
                  oracle::score_streams(settings, parameters, text, 1, 0, 1).score_sum);
        EXPECT_EQ(backend->device_parameters(0).has_value(),
                  backend->device_partial_update(0, wide).has_value());
        EXPECT_THROW(backend->step_shard(0, {1, backend->buckets()[0].size}, rule, wide), Error);
      }
}

TEST(Update, ARankAloneStepsByWhatItHasReconstructed) {
  for (const std::string& name : backends())
    for (UpdateRule update : {UpdateRule::threshold, UpdateRule::sigma_delta})
      for (int threads : {1, 3}) {
        SCOPED_TRACE(testing::Message()
                     << name << " rule " << static_cast<int>(update) << ", threads " << threads);
        Random random(8);
        BackendSettings settings;
        settings.shape = {2, 64};
        settings.update = update;
        settings.threads = threads;
        const PairRange pairs{5, 40};
        const std::unique_ptr<Backend> backend = backend_on(name, settings);
        backend->assign_pairs(pairs);
        std::vector<int8_t> parameters =
            start_parameters(settings.shape, Start::full_range, random);
        std::vector<int32_t> accumulators(parameters.size(), 0);
        backend->write_parameters(parameters);
        if (update == UpdateRule::sigma_delta) backend->write_accumulators(accumulators);
        const StepRule rule{1500, 4000};
        const std::vector<uint8_t> text = {'i', 'n', ' ', 't', 'h', 'e', ' ', 'b', 'e', 'g'};
        for (uint32_t epoch : {3u, 4u}) {
          std::vector<int8_t> d(pairs.count);
          for (int8_t& value : d) value = static_cast<int8_t>(static_cast<int>(random() % 5) - 2);
          backend->reconstruct_and_step(epoch, d, rule);
          const oracle::Vector z = oracle::reconstruct(settings, pairs, epoch, d);
          expect_stepped(*backend, settings, rule, z, parameters, accumulators);
          // The model runs with the parameters as they are now.
          EXPECT_EQ(backend->score_streams(text, 2, 0, 2).score_sum,
                    oracle::score_streams(settings, parameters, text, 2, 0, 2).score_sum);
        }
      }
}

}  // namespace
}  // namespace eggroll
