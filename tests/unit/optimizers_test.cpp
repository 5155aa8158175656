// The numbers of each optimiser's step: shares, thresholds, scales and schedules; and the list of them.
#include "kernels/optimizers.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <string>

#include "common/check.hpp"

namespace eggroll {
namespace {

ShareSettings share_with(double alpha, GenerationSpan decay = {}) {
  ShareSettings settings;
  settings.alpha = alpha;
  settings.alpha_decay = decay;
  return settings;
}

double alpha_at(const ShareSettings& settings, uint64_t generation, uint64_t planned = 1000) {
  return settings.at(generation, planned);
}

TEST(Alpha, FallsFromOneByItsExponentAndItsDecay) {
  ShareSettings settings = share_with(4, {1000, false});
  EXPECT_DOUBLE_EQ(alpha_at(settings, 0), 1.0);
  EXPECT_DOUBLE_EQ(alpha_at(settings, 1000), 1.0 / 16);
  EXPECT_DOUBLE_EQ(alpha_at(settings, 2000), 1.0 / 31);
  settings.alpha = 2;
  EXPECT_DOUBLE_EQ(alpha_at(settings, 1000), 1.0 / 4);
  for (uint64_t t = 1; t < 5000; ++t) ASSERT_LT(alpha_at(settings, t), alpha_at(settings, t - 1));
}

TEST(Alpha, DecaysInPercentOfThePlannedGenerations) {
  const ShareSettings settings = share_with(4, {42, true});
  EXPECT_DOUBLE_EQ(alpha_at(settings, 12600, 30000), 1.0 / 16);
  EXPECT_DOUBLE_EQ(alpha_at(settings, 42, 100), 1.0 / 16);
}

TEST(Alpha, OfAtMostOneIsAConstant) {
  for (double alpha : {1e-6, 0.05, 0.5, 1.0})
    for (uint64_t t : {uint64_t{0}, uint64_t{1}, uint64_t{1000000}})
      EXPECT_EQ(alpha_at(share_with(alpha), t), alpha);
}

// 16 times the two-sided quantile, from tables, rounded down.
TEST(NormalQuantile, HasTheKnownValues) {
  EXPECT_EQ(normal_quantile_16(1.0), 0);
  EXPECT_EQ(normal_quantile_16(0.5), 10);       // 0.674490
  EXPECT_EQ(normal_quantile_16(0.318), 15);     // just below 1
  EXPECT_EQ(normal_quantile_16(0.3173), 16);    // just above 1
  EXPECT_EQ(normal_quantile_16(0.1), 26);       // 1.644854
  EXPECT_EQ(normal_quantile_16(1.0 / 16), 29);  // 1.862732
  EXPECT_EQ(normal_quantile_16(0.05), 31);      // 1.959964
  EXPECT_EQ(normal_quantile_16(0.01), 41);      // 2.575829
  EXPECT_EQ(normal_quantile_16(0.001), 52);     // 3.290527
  EXPECT_EQ(normal_quantile_16(1e-6), 78);      // 4.891638
}

TEST(NormalQuantile, NeverFallsAsTheShareShrinks) {
  int64_t before = 0;
  for (double alpha = 1; alpha > 1e-7; alpha *= 0.99) {
    const int64_t q = normal_quantile_16(alpha);
    ASSERT_GE(q, before);
    ASSERT_LE(q, before + 1);
    before = q;
  }
}

void expect_floor_of_the_root(uint64_t sum_squares, uint64_t terms) {
  const unsigned __int128 square = static_cast<unsigned __int128>(65536) * terms * sum_squares;
  const int64_t root = noise_deviation(sum_squares, terms);
  ASSERT_GE(root, 0);
  const auto wide = static_cast<unsigned __int128>(root);
  ASSERT_LE(wide * wide, square) << sum_squares << " x " << terms;
  ASSERT_GT((wide + 1) * (wide + 1), square) << sum_squares << " x " << terms;
}

TEST(NoiseDeviation, IsTheRootRoundedDownForEverySmallPopulation) {
  for (uint64_t terms : {1, 4, 16})
    for (uint64_t sum = 0; sum < 200000; ++sum) expect_floor_of_the_root(sum, terms);
}

TEST(NoiseDeviation, IsExactBesideSquaresAndForHugePopulations) {
  for (uint64_t root = 1; root < (uint64_t{1} << 21); root = root * 9 / 8 + 1) {
    EXPECT_EQ(noise_deviation(root * root, 1), static_cast<int64_t>(256 * root));
    for (uint64_t sum : {root * root - 1, root * root, root * root + 1})
      for (uint64_t terms : {1, 4, 16}) expect_floor_of_the_root(sum, terms);
  }
  std::mt19937_64 random(5);
  for (int i = 0; i < 100000; ++i)
    expect_floor_of_the_root(random() >> (22 + random() % 40), uint64_t{1} << (2 * (random() % 2)));
  EXPECT_EQ(noise_deviation(0, 1), 0);
}

StepContext context_of(uint64_t generation, uint64_t sum_squares, Noise noise, int noise_rank) {
  return {.generation = generation,
          .generations = 1000,
          .population = 64,
          .sum_squares = sum_squares,
          .noise = noise,
          .noise_rank = noise_rank};
}

// "16 |Z| >= quantile * s" of the definition, for every |Z| around the threshold.
TEST(ThresholdNumbers, AreTheLeastSumThatPassesTheDefinition) {
  std::mt19937_64 random(6);
  for (int i = 0; i < 20000; ++i) {
    const ShareSettings settings = share_with(1 + static_cast<double>(random() % 8));
    const uint64_t generation = random() % 3000;
    const uint64_t sum = 1 + random() % (uint64_t{1} << (1 + random() % 33));
    const int noise_rank = 1 << (2 * (random() % 3));
    const bool is_low_rank = random() % 4 != 0;
    const uint64_t terms = is_low_rank ? static_cast<uint64_t>(noise_rank) : 1;
    const int64_t least =
        normal_quantile_16(alpha_at(settings, generation)) * noise_deviation(sum, terms);
    const int64_t threshold =
        Threshold::numbers(
            settings,
            context_of(generation, sum, is_low_rank ? Noise::low_rank : Noise::product, noise_rank))
            .threshold;
    ASSERT_GE(16 * threshold, least);
    // A sum of 0 moves nothing: where everything may move, from 1 on.
    ASSERT_LT(16 * (threshold - 1), least == 0 ? 1 : least);
  }
}

TEST(ThresholdNumbers, LetEverySumMoveWhereEverythingMayMove) {
  const auto numbers = Threshold::numbers(share_with(4), context_of(0, 512, Noise::low_rank, 1));
  int8_t weight = 3;
  EXPECT_TRUE(Threshold::step(1, numbers, weight));
  EXPECT_TRUE(Threshold::step(1, numbers, weight));
  EXPECT_TRUE(Threshold::step(-1, numbers, weight));
  EXPECT_FALSE(Threshold::step(0, numbers, weight));
  EXPECT_EQ(weight, 4);
}

int64_t sigma_delta_threshold(double factor, double alpha, uint64_t generation,
                              uint64_t sum_squares, int noise_rank, Noise noise = Noise::low_rank) {
  SigmaDelta::Settings settings;
  settings.threshold_factor = factor;
  settings.alpha = alpha;
  return SigmaDelta::numbers(settings, context_of(generation, sum_squares, noise, noise_rank))
      .threshold;
}

TEST(SigmaDeltaNumbers, AreTheFactorOfTheDeviationOverTheRootOfAlpha) {
  EXPECT_EQ(sigma_delta_threshold(2, 4, 0, 100, 1), 2 * 2560);
  EXPECT_EQ(sigma_delta_threshold(2, 4, 1000, 100, 1), 4 * 2 * 2560);
  EXPECT_EQ(sigma_delta_threshold(2, 4, 0, 100, 4), 2 * 5120);
  EXPECT_EQ(sigma_delta_threshold(2, 4, 0, 100, 16), 2 * 10240);
  EXPECT_EQ(sigma_delta_threshold(2, 4, 0, 100, 16, Noise::product), 2 * 2560);
  EXPECT_EQ(sigma_delta_threshold(0.5, 4, 0, 100, 1), 1280);
}

TEST(SigmaDeltaNumbers, StayBetweenOneAndWhatAnAccumulatorHolds) {
  EXPECT_EQ(sigma_delta_threshold(64, 1e-6, 0, uint64_t{1} << 33, 16), 1 << 30);
  EXPECT_EQ(sigma_delta_threshold(0.01, 1, 0, 0, 1), 1);
  EXPECT_EQ(sigma_delta_threshold(0.01, 1, 0, 1, 1), 2);  // 2.56
}

TEST(SigmaDeltaNumbers, OfARunWhoseThresholdsWouldGrowBeyondAnAccumulatorAreRefused) {
  SigmaDelta::Settings settings;
  settings.threshold_factor = 64;
  settings.alpha = 1e-6;
  EXPECT_THROW(SigmaDelta::check(settings, context_of(0, uint64_t{1} << 33, Noise::low_rank, 16)),
               ConfigError);
  settings.threshold_factor = 2;
  settings.alpha = 1;
  SigmaDelta::check(settings, context_of(0, uint64_t{1} << 33, Noise::low_rank, 16));
}

// A weight moves by g = scale Z, Z in elements of noise, which are sixteenths.
TEST(GradientScale, IsTheMeanOverMembersOfUtilityTimesPerturbation) {
  StepContext context;
  context.population = 10;
  context.unit = 0.5;
  context.noise = Noise::full;
  EXPECT_DOUBLE_EQ(gradient_scale(context), 0.5 / (10 * 16.0));
  context.noise = Noise::product;
  EXPECT_DOUBLE_EQ(gradient_scale(context), 0.5 / (10 * 256.0));
  context.noise = Noise::low_rank;
  EXPECT_DOUBLE_EQ(gradient_scale(context), 0.5 / (10 * 256.0));
  context.noise_rank = 9;
  EXPECT_DOUBLE_EQ(gradient_scale(context), 0.5 / (10 * 256.0 * 3));
}

TEST(FloatNumbers, FollowTheScheduleOfTheLearningRate) {
  const OptionTexts settings = {{"learning-rate", "0.5"},
                                {"learning-rate-schedule", "linear"},
                                {"learning-rate-end", "0.5"},
                                {"learning-rate-over", "100"}};
  StepContext context = context_of(50, 7, Noise::full, 1);
  const double rate = 0.5 * 0.75, scale = 1 / (64 * 16.0);
  const StepNumbers sgd = optimizer_type("sgd").numbers(settings, context);
  EXPECT_DOUBLE_EQ(sgd.get<Sgd::Numbers>(Noise::full).scale, rate * scale);
  EXPECT_DOUBLE_EQ(sgd.get<Sgd::Numbers>(Noise::low_rank).scale, rate / (64 * 256.0));
  const auto momentum =
      optimizer_type("momentum").numbers(settings, context).get<Momentum::Numbers>(Noise::full);
  EXPECT_DOUBLE_EQ(momentum.scale, scale);
  EXPECT_FLOAT_EQ(momentum.momentum, 0.9f);
  EXPECT_FLOAT_EQ(momentum.rate, static_cast<float>(rate));
  const auto adam =
      optimizer_type("adamw").numbers(settings, context).get<AdamW::Numbers>(Noise::full);
  EXPECT_DOUBLE_EQ(adam.scale, scale);
  EXPECT_FLOAT_EQ(adam.rate, static_cast<float>(rate / (1 - std::pow(0.9, 51))));
  EXPECT_FLOAT_EQ(adam.unbias2, static_cast<float>(1 / (1 - std::pow(0.999, 51))));
  EXPECT_FLOAT_EQ(adam.kept, static_cast<float>(1 - 0.01 * rate));
  EXPECT_EQ(optimizer_type("adam").numbers(settings, context).get<Adam::Numbers>(Noise::full).kept,
            1);
}

TEST(Optimizers, HaveNamesOfTheirOwnAndSayWhatTheyKeep) {
  std::set<std::string_view> names, slots;
  for (const OptimizerType& type : optimizer_types()) {
    EXPECT_TRUE(names.insert(type.name).second) << type.name;
    EXPECT_EQ(&optimizer_type(type.name), &type);
    EXPECT_FALSE(type.help.empty());
    // Groups of a checkpoint.
    for (const Slot& slot : type.slots)
      if (type.name != "adamw") {
        EXPECT_TRUE(slots.insert(slot.name).second) << slot.name;
      }
    Options options;
    const std::shared_ptr<void> settings = type.declare(options);
    EXPECT_FALSE(options.rows().empty());
    int called = 0;
    with_optimizer(type.name, [&]<typename Optimizer>() {
      ++called;
      EXPECT_EQ(type.name, Optimizer::kName);
    });
    EXPECT_EQ(called, 1);
  }
  EXPECT_TRUE(names.contains("sigma-delta") && names.contains("adam"));
  try {
    optimizer_type("newton");
    ADD_FAILURE() << "there is none";
  } catch (const ConfigError& error) {
    std::string allowed;
    for (const OptimizerType& type : optimizer_types())
      (allowed += allowed.empty() ? "" : ", ") += type.name;
    EXPECT_EQ(std::string(error.what()), "update = newton: allowed are " + allowed);
  }
}

}  // namespace
}  // namespace eggroll
