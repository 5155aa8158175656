// Z of any layout, any noise and any utilities on every device against the oracle, bit for bit; buckets
// and digits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "kernels/learner.hpp"
#include "kernels/update_plan.hpp"
#include "tests/support/devices.hpp"
#include "tests/support/oracle.hpp"

namespace eggroll {
namespace {

using oracle::Random;
using test::device_on;
using test::devices;
using test::reconstructed;

TEST(Digits, MakeUpEveryUtilityInAsFewPlanesAsItNeeds) {
  for (int d = -kLargestUtility; d <= kLargestUtility; ++d) {
    const auto value = static_cast<int16_t>(d);
    const int planes = planes_of({&value, 1});
    int sum = 0, within = 0, power = 1;  // within: the largest d of so many planes
    for (int plane = 0; plane < kMostPlanes; ++plane, power *= 5) {
      const int digit = digit_of(d, plane);
      ASSERT_LE(std::abs(digit), 2) << d;
      ASSERT_EQ(power_of_plane(plane), power);
      sum += power * digit;
      if (plane < planes - 1) within += 2 * power;
      if (plane >= planes) {
        ASSERT_EQ(digit, 0) << d;
      }
    }
    ASSERT_EQ(sum, d);
    if (d == 0) {
      ASSERT_EQ(planes, 0);
      continue;
    }
    ASSERT_GT(std::abs(d), within) << "fewer planes hold " << d;
    ASSERT_NE(digit_of(d, planes - 1), 0) << d;
    ASSERT_LE(planes, kMostPlanes);
  }
}

TEST(Digits, ThatTheLargestUtilityOfAPopulationNeedsAreThoseOfAll) {
  const auto planes = [](std::vector<int16_t> d) { return planes_of(d); };
  EXPECT_EQ(planes({}), 0);
  EXPECT_EQ(planes({0, 0}), 0);
  EXPECT_EQ(planes({2, -2, 0, 1}), 1);
  EXPECT_EQ(planes({2, -3, 0, 1}), 2);
  EXPECT_EQ(planes({12, -1}), 2);
  EXPECT_EQ(planes({-13, 1}), 3);
  EXPECT_EQ(planes({62, 63}), 4);
  EXPECT_EQ(planes({-1562, 312}), 5);
  EXPECT_GT(planes({1563}), kMostPlanes);
}

// Tensors of every noise, with sizes around a panel, tails, more rows and elements than one thread
// makes at a time, and frozen ones in between.
ParameterLayout layout_of(Element element) {
  ParameterLayout layout;
  const auto add = [&](Role role, Noise noise, uint32_t rows, uint32_t cols) {
    layout.add("t" + std::to_string(layout.tensors().size()), role, noise, element, rows, cols);
  };
  add(Role::matrix, Noise::low_rank, 1, 1);
  add(Role::embedding, Noise::low_rank, 3, 5);
  add(Role::vector, Noise::full, 7, 1);
  add(Role::matrix, Noise::low_rank, 65, 127);
  add(Role::matrix, Noise::none, 5, 3);
  add(Role::matrix, Noise::low_rank, 64, 64);
  add(Role::vector, Noise::product, 7, 1);
  add(Role::matrix, Noise::low_rank, 2, 200);
  add(Role::vector, Noise::product, 128, 1);
  add(Role::matrix, Noise::full, 65, 127);
  add(Role::matrix, Noise::full, 64, 64);
  add(Role::matrix, Noise::product, 9, 9);
  add(Role::vector, Noise::none, 1, 1);
  add(Role::matrix, Noise::low_rank, 1027, 66);
  add(Role::matrix, Noise::full, 129, 131);
  return layout;
}

enum class Draw { ternary, levels, tens, any, fives, ends, nothing };

std::vector<int16_t> draw(Draw kind, size_t pairs, Random& random) {
  std::vector<int16_t> d(pairs);
  const auto up_to = [&](int largest) {
    return static_cast<int>(random() % static_cast<uint64_t>(2 * largest + 1)) - largest;
  };
  for (int16_t& value : d) {
    const int drawn = kind == Draw::ternary  ? up_to(1)
                      : kind == Draw::levels ? up_to(2)
                      : kind == Draw::tens   ? up_to(12)
                      : kind == Draw::any    ? up_to(kLargestUtility)
                      : kind == Draw::fives  ? 5 * up_to(kLargestUtility / 5)
                      : kind == Draw::ends   ? (random() % 2 == 0 ? 1 : -1) * kLargestUtility
                                             : 0;
    value = static_cast<int16_t>(drawn);
  }
  return d;
}

TEST(Reconstruct, SumsOfAnyLayoutAndAnyUtilitiesAreThoseOfTheOracle) {
  struct Case {
    Element element;
    int noise_rank;
    size_t pairs;
    uint64_t first_pair;
    Draw draw;
  };
  const Case cases[] = {
      {Element::int8, 1, 9, 0, Draw::levels},      {Element::float32, 1, 1, 5, Draw::ends},
      {Element::float32, 3, 21, 16, Draw::any},    {Element::int8, 4, 8, 4000000000, Draw::tens},
      {Element::float32, 16, 36, 1, Draw::any},    {Element::int8, 16, 3, 2, Draw::fives},
      {Element::float32, 1, 40, 7, Draw::ternary}, {Element::float32, 3, 4, 0, Draw::nothing}};
  Random random(21);
  for (const Case& c : cases) {
    const LearnerSettings settings{.layout = layout_of(c.element),
                                   .seed = random(),
                                   .noise_rank = c.noise_rank,
                                   .optimizer = c.element == Element::int8 ? "threshold" : "sgd"};
    const std::vector<int16_t> d = draw(c.draw, c.pairs, random);
    const Utilities utilities{3, c.first_pair, d};
    const oracle::Vector expected = oracle::reconstruct(settings, utilities);
    const int threads = static_cast<int>(1 + random() % 3);
    for (const std::string& name : devices()) {
      SCOPED_TRACE(testing::Message() << name << ", " << threads << " threads, r " << c.noise_rank
                                      << ", draw " << static_cast<int>(c.draw));
      const std::unique_ptr<Device> device = device_on(name, {.threads = threads});
      const std::unique_ptr<Learner> learner = device->make_learner(settings);
      for (const bool wide : {false, true, false}) {
        const std::vector<int64_t> z = reconstructed(*learner, utilities, wide);
        size_t wrong = 0;
        for (size_t e = 0; e < z.size(); ++e) wrong += z[e] != expected[e];
        EXPECT_EQ(wrong, 0u) << (wide ? "wide, first at " : "narrow, first at ")
                             << std::ranges::mismatch(z, expected).in1 - z.begin();
      }
      EXPECT_EQ(learner->take_changed(), 0u);
    }
  }
}

// One element of each noise, by noise_element() alone.
int64_t only_element(const TensorSpec& tensor, int noise_rank, const NoiseAddress& at) {
  if (tensor.noise == Noise::full) return noise_element(at, 0);
  if (tensor.noise == Noise::product) return noise_element(at, 0) * noise_element(at, 64);
  int64_t sum = 0;
  const auto r = static_cast<uint32_t>(noise_rank);
  for (uint32_t q = 0; q < r; ++q)
    sum += noise_element(at, 64 * q) * noise_element(at, 64 * (r + q));
  return sum;
}

// Each d has the sign of its own perturbation, so that sums are as large as so many pairs make them: to
// what 32 bits are known to hold, and far beyond.
TEST(Reconstruct, SumsAreExactToTheEndOf32BitsAndBeyondIt) {
  for (const Noise noise : {Noise::low_rank, Noise::product, Noise::full})
    for (const int noise_rank : {1, 3, 4096}) {
      if (noise_rank > 1 && noise != Noise::low_rank) continue;
      ParameterLayout one;
      one.add("one", Role::matrix, noise, Element::float32, 1, 1);
      const LearnerSettings settings{
          .layout = one, .seed = 5, .noise_rank = noise_rank, .optimizer = "sgd"};
      for (const bool wide : {false, true}) {
        const uint64_t within =
            (uint64_t{1} << 31) /
            (uint64_t{kLargestUtility} * kNoiseMax * kNoiseMax * static_cast<uint64_t>(noise_rank));
        // Wide sums of more pairs than 32 bits hold at a time.
        const uint64_t pairs = !wide ? within : noise_rank == 4096 ? 66 : 9000;
        const int utility = noise_rank == 4096 ? 2 : kLargestUtility;
        if (pairs == 0) continue;
        std::vector<int16_t> d(pairs);
        int64_t expected = 0;
        for (uint32_t j = 0; j < pairs; ++j) {
          const int64_t e =
              only_element(settings.layout[0], noise_rank, {settings.seed, 1, 0, 9 + j});
          d[j] = static_cast<int16_t>(e < 0 ? -utility : utility);
          expected += d[j] * e;
        }
        if (wide && noise != Noise::full) {
          EXPECT_TRUE(noise_rank == 4096 || expected > INT32_MAX);
        }
        for (const std::string& name : devices()) {
          SCOPED_TRACE(testing::Message() << name << ", noise " << name_of(noise) << ", r "
                                          << noise_rank << ", wide " << wide);
          const std::unique_ptr<Device> device = device_on(name);
          const std::unique_ptr<Learner> learner = device->make_learner(settings);
          EXPECT_EQ(reconstructed(*learner, {1, 9, d}, wide), (std::vector<int64_t>{expected}));
          if (!wide) continue;
          EXPECT_EQ(learner->largest_magnitude(0), expected);
          if (expected > INT32_MAX) continue;
          learner->narrow(0);
          EXPECT_EQ(learner->partial_update(0)[0], expected);
        }
      }
    }
}

TEST(Reconstruct, BucketsCoverWhatIsTrainedWithOneNoiseAndOneElementEach) {
  for (const Element element : {Element::int8, Element::float32}) {
    const ParameterLayout layout = layout_of(element);
    const std::vector<UpdateBucket> buckets = plan_update(layout);
    std::vector<int> covered(layout.trained());
    for (size_t b = 0; b < buckets.size(); ++b) {
      const UpdateBucket& bucket = buckets[b];
      if (b > 0) {
        EXPECT_LE(bucket.size, buckets[b - 1].size);
      }
      size_t begun = 0;
      for (const TensorSpec& tensor : layout.tensors()) {
        if (!tensor.is_trained() || tensor.offset < bucket.offset ||
            tensor.offset >= bucket.offset + bucket.size)
          continue;
        ++begun;
        EXPECT_EQ(tensor.noise, bucket.noise) << tensor.name;
        EXPECT_EQ(tensor.element, bucket.element) << tensor.name;
        EXPECT_EQ(tensor.at - bucket.at, (tensor.offset - bucket.offset) * bytes_of(element))
            << tensor.name;
        EXPECT_LE(tensor.offset + tensor.size(), bucket.offset + bucket.size) << tensor.name;
        for (size_t e = 0; e < tensor.size(); ++e) ++covered[tensor.offset + e];
      }
      EXPECT_GT(begun, 0u);
    }
    EXPECT_EQ(covered, std::vector<int>(layout.trained(), 1));
  }
}

TEST(Reconstruct, SettingsThatNoLearnerCanKeepAreRefused) {
  for (const std::string& name : devices()) {
    const std::unique_ptr<Device> device = device_on(name);
    LearnerSettings settings{.layout = layout_of(Element::float32), .optimizer = "sgd"};
    device->make_learner(settings);
    settings.optimizer = "threshold";  // moves int8
    EXPECT_THROW(device->make_learner(settings), Error);
    settings.optimizer = "none of that name";
    EXPECT_THROW(device->make_learner(settings), ConfigError);
    settings.optimizer = "sgd";
    settings.noise_rank = 0;
    EXPECT_THROW(device->make_learner(settings), Error);
    // Frozen tensors may be of any element.
    ParameterLayout frozen;
    frozen.add("codes", Role::matrix, Noise::none, Element::int8, 3, 3);
    frozen.add("weights", Role::matrix, Noise::low_rank, Element::float32, 3, 3);
    EXPECT_EQ(device->make_learner({.layout = frozen, .optimizer = "adam"})->arena_bytes(0),
              12u + 36);
    // Nothing is wrong with a rank of 3 x 2^14 but for the tensor that is too large for it.
    frozen.add("large", Role::matrix, Noise::low_rank, Element::float32, 1, 100000);
    EXPECT_THROW(
        device->make_learner({.layout = frozen, .noise_rank = 3 << 14, .optimizer = "sgd"}),
        ConfigError);
    settings.noise_rank = 1;
    const std::unique_ptr<Learner> learner = device->make_learner(settings);
    const int16_t too_large[] = {kLargestUtility + 1};
    EXPECT_THROW(reconstructed(*learner, {0, 0, too_large}, false), Error);
  }
}

}  // namespace
}  // namespace eggroll
