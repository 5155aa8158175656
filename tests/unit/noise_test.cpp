// The noise: its generator against Random123, its law against exact sums over the tables, its
// addresses against each other.
#include "common/noise.hpp"

#include <Random123/philox.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <vector>

#include "common/layout.hpp"
#include "kernels/int_rnn.hpp"

#undef philox4x32  // Random123 has a macro of this name

namespace eggroll {
namespace {

using Words = std::array<uint32_t, 4>;

Words words(const PhiloxBlock& block) {
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

Words random123(const Words& counter, uint32_t key0, uint32_t key1) {
  const r123::Philox4x32::ctr_type c = {{counter[0], counter[1], counter[2], counter[3]}};
  const r123::Philox4x32::key_type k = {{key0, key1}};
  const r123::Philox4x32::ctr_type result = r123::Philox4x32()(c, k);
  return {result[0], result[1], result[2], result[3]};
}

Words ours(const Words& c, uint32_t key0, uint32_t key1) {
  return words(philox4x32({{c[0], c[1], c[2], c[3]}}, key0, key1));
}

TEST(Philox, GivesTheKnownAnswersOfRandom123) {
  struct KnownAnswer {
    Words counter;
    uint32_t key0, key1;
    Words result;
  };
  const uint32_t ones = 0xFFFFFFFFu;
  const KnownAnswer answers[] = {
      {{0, 0, 0, 0}, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{ones, ones, ones, ones}, ones, ones, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      // The digits of pi.
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       0xa4093822,
       0x299f31d0,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const KnownAnswer& a : answers) {
    EXPECT_EQ(ours(a.counter, a.key0, a.key1), a.result);
    EXPECT_EQ(random123(a.counter, a.key0, a.key1), a.result);
  }
}

TEST(Philox, AgreesWithRandom123OnRandomCountersAndKeys) {
  std::mt19937 random(1);
  for (int i = 0; i < 10000; ++i) {
    Words counter;
    for (uint32_t& word : counter) word = static_cast<uint32_t>(random());
    const uint32_t key0 = static_cast<uint32_t>(random());
    const uint32_t key1 = static_cast<uint32_t>(random());
    ASSERT_EQ(ours(counter, key0, key1), random123(counter, key0, key1));
  }
}

NoiseAddress random_address(std::mt19937_64& random) {
  return {random(), static_cast<uint32_t>(random()), static_cast<uint32_t>(random()),
          static_cast<uint32_t>(random())};
}

TEST(Noise, EachFieldOfAnAddressHasWordsOfItsOwn) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 1000; ++i) {
    const NoiseAddress at = random_address(random);
    const uint32_t block = static_cast<uint32_t>(random());
    ASSERT_EQ(words(noise_block(at, block)),
              random123({block, at.pair, at.tensor, at.epoch}, static_cast<uint32_t>(at.seed),
                        static_cast<uint32_t>(at.seed >> 32)));
  }
}

TEST(Noise, AnElementAddsTwoTableEntriesFromTheBytesOfItsLane) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 1000; ++i) {
    const NoiseAddress at = random_address(random);
    const uint32_t element = static_cast<uint32_t>(random());
    const Words block = words(noise_block(at, element / 8));
    std::vector<uint32_t> bytes;  // little endian, whatever the machine
    for (uint32_t word : block)
      for (int shift = 0; shift < 32; shift += 8) bytes.push_back(word >> shift & 255u);
    const uint32_t lane = element % 8;
    ASSERT_EQ(noise_element(at, element),
              kNoiseTableA[bytes[lane] % 128] + kNoiseTableB[bytes[8 + lane] % 128]);
  }
}

// A change of these values is a new noise law: it needs a new name and a new version.
TEST(Noise, KeepsItsPinnedValues) {
  const NoiseAddress at{0x0123456789ABCDEFu, 5, 3, 70000};
  const std::array<int, 16> pinned = {11, 24, -7, -7, 3, 8, -5, -3, -5, 18, -13, 13, 4, 9, -2, 5};
  for (uint32_t e = 0; e < pinned.size(); ++e) EXPECT_EQ(noise_element(at, e), pinned[e]) << e;
}

TEST(Noise, TheTwoTablesGiveMeanZeroVarianceOfSixteenSquaredAndNormalKurtosis) {
  int64_t sum = 0, sum2 = 0, sum4 = 0;
  int largest = 0;
  for (int64_t a : kNoiseTableA) {
    for (int64_t b : kNoiseTableB) {
      const int64_t v = a + b;
      sum += v;
      sum2 += v * v;
      sum4 += v * v * v * v;
      largest = std::max(largest, static_cast<int>(std::abs(v)));
    }
  }
  const double n = 128.0 * 128.0;
  const double variance = static_cast<double>(sum2) / n;
  EXPECT_EQ(sum, 0);
  EXPECT_NEAR(variance, 255.97, 0.005);
  EXPECT_NEAR(static_cast<double>(sum4) / n / (variance * variance), 3.00, 0.005);
  EXPECT_EQ(largest, kNoiseMax);
}

TEST(Noise, TheTablesAreOddFunctionsSoTheLawIsSymmetric) {
  for (int i = 0; i < 128; ++i) {
    EXPECT_EQ(kNoiseTableA[i], -kNoiseTableA[127 - i]);
    EXPECT_EQ(kNoiseTableB[i], -kNoiseTableB[127 - i]);
  }
}

TEST(Noise, SamplesFollowTheLawWithinFiveSigma) {
  const uint32_t blocks = 1 << 18;  // 2^21 samples
  const double n = 8.0 * blocks;
  double sum = 0, sum2 = 0, sum4 = 0;
  std::vector<uint32_t> seen(2 * kNoiseMax + 1, 0);
  for (uint32_t block = 0; block < blocks; ++block) {
    // Spread over pairs and tensors: a run uses short stretches of many addresses.
    const PhiloxBlock bits = noise_block({42, 7, block % 61, block / 64}, block % 64);
    for (int lane = 0; lane < 8; ++lane) {
      const int value = noise_of_block(bits, lane);
      ASSERT_LE(std::abs(value), kNoiseMax);
      ++seen[value + kNoiseMax];
      const double square = static_cast<double>(value) * value;
      sum += value;
      sum2 += square;
      sum4 += square * square;
    }
  }
  const double variance = sum2 / n;
  EXPECT_NEAR(sum / n, 0, 5 * 16 / std::sqrt(n));
  EXPECT_NEAR(variance, 255.97, 5 * 256 * std::sqrt(2 / n));
  EXPECT_NEAR(sum4 / n / (variance * variance), 3.00, 5 * std::sqrt(24 / n));

  // Every value as often as the tables say.
  std::vector<double> probability(seen.size(), 0);
  for (int a : kNoiseTableA)
    for (int b : kNoiseTableB) probability[a + b + kNoiseMax] += 1 / (128.0 * 128.0);
  for (size_t v = 0; v < seen.size(); ++v) {
    const double sigma = std::sqrt(n * probability[v] * (1 - probability[v]));
    EXPECT_NEAR(seen[v], n * probability[v], 5 * sigma + 1e-9) << "value " << int(v) - kNoiseMax;
  }
}

// Correlation of the values and of their magnitudes: a dependence between variances shows only in
// the second.
void expect_uncorrelated(const char* what, const std::function<int(uint32_t)>& x,
                         const std::function<int(uint32_t)>& y) {
  const uint32_t n = 100000;
  double xy = 0, xx = 0, yy = 0, uv = 0, uu = 0, vv = 0;
  const double mean_square = 255.97;
  for (uint32_t i = 0; i < n; ++i) {
    const double a = x(i), b = y(i);
    xy += a * b, xx += a * a, yy += b * b;
    const double u = a * a - mean_square, v = b * b - mean_square;
    uv += u * v, uu += u * u, vv += v * v;
  }
  const double bound = 5 / std::sqrt(static_cast<double>(n));
  EXPECT_LT(std::abs(xy / std::sqrt(xx * yy)), bound) << what;
  EXPECT_LT(std::abs(uv / std::sqrt(uu * vv)), bound) << what << ", magnitudes";
}

std::function<int(uint32_t)> elements_of(NoiseAddress at, uint32_t first = 0, uint32_t stride = 1) {
  return [=](uint32_t i) { return noise_element(at, first + stride * i); };
}

TEST(Noise, NeighbouringAddressesAreIndependent) {
  const NoiseAddress at{1234, 3, 2, 100};
  const auto base = elements_of(at);
  for (uint32_t step : {1u, 2u, 256u}) {
    expect_uncorrelated("tensors", base,
                        elements_of({at.seed, at.epoch, at.tensor + step, at.pair}));
    expect_uncorrelated("pairs", base, elements_of({at.seed, at.epoch, at.tensor, at.pair + step}));
    expect_uncorrelated("epochs", base,
                        elements_of({at.seed, at.epoch + step, at.tensor, at.pair}));
    expect_uncorrelated("seeds", base, elements_of({at.seed + step, at.epoch, at.tensor, at.pair}));
  }
  const uint64_t high_word = uint64_t{1} << 32;
  expect_uncorrelated("high seed", base,
                      elements_of({at.seed + high_word, at.epoch, at.tensor, at.pair}));
  // Fields must not stand in for each other.
  expect_uncorrelated("tensor and pair", base,
                      elements_of({at.seed, at.epoch, at.pair, at.tensor}));
  expect_uncorrelated("initialisation", base,
                      elements_of({at.seed, kInitialisationEpoch, at.tensor, at.pair}));
}

TEST(Noise, NeighbouringElementsAreIndependent) {
  const NoiseAddress at{1234, 3, 2, 100};
  for (uint32_t lag : {1u, 2u, 3u, 4u, 7u, 8u, 9u, 64u, 256u})
    expect_uncorrelated("elements", elements_of(at), elements_of(at, lag));
  // Lanes of one block against each other: they share a Philox call.
  for (uint32_t lane = 1; lane < 8; ++lane)
    expect_uncorrelated("lanes", elements_of(at, 0, 8), elements_of(at, lane, 8));
}

TEST(Noise, TheFactorsOfAMatrixAndOfAVectorAreIndependent) {
  // B_i against A_i of the same pair over many pairs (256 x 256 matrix, r = 4), and the two factors
  // of a vector of 256.
  const auto factor = [](uint32_t first) {
    return [first](uint32_t i) { return noise_element({77, 1, 4, i / 256}, first + i % 256); };
  };
  expect_uncorrelated("B and A", factor(0), factor(4 * 256));
  expect_uncorrelated("two terms of B", factor(0), factor(256));
  expect_uncorrelated("two terms of A", factor(4 * 256), factor(5 * 256));
  expect_uncorrelated("factors of a vector", factor(0), factor(256));
}

// Whatever the shape: B of every term, then A of every term; two factors; one.
TEST(Noise, RunsOfATensorBeginAtMultiplesOf64) {
  ParameterLayout layout;
  layout.add("one", Role::matrix, Noise::low_rank, Element::float32, 1, 1);
  layout.add("odd", Role::matrix, Noise::low_rank, Element::float32, 65, 127);
  layout.add("even", Role::matrix, Noise::low_rank, Element::int8, 64, 128);
  layout.add("product", Role::vector, Noise::product, Element::int8, 7, 1);
  layout.add("full", Role::matrix, Noise::full, Element::float32, 9, 15);
  layout.add("frozen", Role::matrix, Noise::none, Element::float32, 9, 15);
  const auto elements = [&](const char* name, int noise_rank) {
    return noise_elements(layout[layout.index_of(name)], noise_rank);
  };
  EXPECT_EQ(elements("one", 1), 64u + 64);
  EXPECT_EQ(elements("one", 3), 3u * (64 + 64));
  EXPECT_EQ(elements("odd", 1), 128u + 128);
  EXPECT_EQ(elements("odd", 16), 16u * (128 + 128));
  EXPECT_EQ(elements("even", 4), 4u * (64 + 128));
  for (int noise_rank : {1, 5}) {
    EXPECT_EQ(elements("product", noise_rank), 2u * 64);
    EXPECT_EQ(elements("full", noise_rank), 192u);
    EXPECT_EQ(elements("frozen", noise_rank), 0u);
  }
  for (size_t n = 1; n < 1000; ++n) {
    ASSERT_GE(noise_run(n), n);
    ASSERT_LT(noise_run(n), n + 64);
    ASSERT_EQ(noise_run(n) % 64, 0u);
  }
}

// Philox is a bijection of its counters for a given key, so distinct outputs are distinct counters.
TEST(Noise, NoTwoBlocksOfARunShareACounter) {
  const IntRnnShape shape{2, 64};
  const ParameterLayout layout = int_rnn_layout(shape);
  const int noise_rank = 4;
  std::set<Words> seen;
  size_t blocks = 0;
  const auto take = [&](const NoiseAddress& at, size_t elements) {
    for (uint32_t block = 0; block < elements / 8; ++block, ++blocks)
      seen.insert(words(noise_block(at, block)));
  };
  for (uint32_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& tensor = layout[t];
    const bool is_vector = tensor.role == Role::vector;
    const size_t elements =
        is_vector ? 2 * tensor.rows : size_t{noise_rank} * (size_t{tensor.rows} + tensor.cols);
    EXPECT_EQ(noise_elements(tensor, noise_rank), elements);
    for (uint32_t epoch = 0; epoch < 4; ++epoch)
      for (uint32_t pair = 0; pair < 8; ++pair) take({9, epoch, t, pair}, elements);
    if (!is_vector) take({9, kInitialisationEpoch, t, 0}, tensor.size());
  }
  EXPECT_GT(blocks, 60000u);
  EXPECT_EQ(seen.size(), blocks);
}

}  // namespace
}  // namespace eggroll
