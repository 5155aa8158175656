// The perturbed linear layer in bf16 against double precision, on the device or on its emulation.
#include "kernels/cuda/perturbed_linear.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "common/check.hpp"
#include "kernels/bfloat16.hpp"
#include "tests/support/perturbed_linear_oracle.hpp"

namespace eggroll::cuda {
namespace {

using test::LayerShape;
using Random = std::mt19937_64;
using Bits = std::vector<uint16_t>;

constexpr size_t kMargin = 64;
constexpr uint16_t kPoison = 0x7fc1;  // a NaN that no rounding makes

struct Layer {
  LayerShape shape;
  float sigma;
  NoiseAddress noise;
  Bits x, w;
};

Bits random_numbers(size_t size, float deviation, Random& random) {
  std::normal_distribution<float> normal(0, deviation);
  Bits numbers(size);
  for (uint16_t& number : numbers) number = bf16_of_float(normal(random));
  return numbers;
}

NoiseAddress random_address(Random& random) {
  return {random(), static_cast<uint32_t>(random()), static_cast<uint32_t>(random()),
          static_cast<uint32_t>(random() % 0x7fffffffu)};
}

Layer random_layer(const LayerShape& shape, Random& random) {
  const float weight = 1 / std::sqrt(static_cast<float>(shape.in));
  return {shape, 0.3f * weight, random_address(random),
          random_numbers(shape.members * shape.in, 1, random),
          random_numbers(shape.out * shape.in, weight, random)};
}
Layer layer_without_weights(const LayerShape& shape, Random& random) {
  Layer layer = random_layer(shape, random);
  std::fill(layer.w.begin(), layer.w.end(), uint16_t{0});
  return layer;
}

class PerturbedLinear : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0)
      GTEST_SKIP() << "this machine has no CUDA device";
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  }

  // Outputs, which began as NaN; what lies before and behind them must stay.
  Bits outputs(const Layer& layer, bool is_perturbed = true) {
    const Stream stream;
    DeviceBuffer<uint16_t> x(layer.x.size()), w(layer.w.size());
    const size_t size = layer.shape.members * layer.shape.out;
    Bits y(size + 2 * kMargin, kPoison);
    DeviceBuffer<uint16_t> all(y.size());
    copy_to_device(x.data(), layer.x, stream);
    copy_to_device(w.data(), layer.w, stream);
    copy_to_device(all.data(), y, stream);
    const PerturbedLinearCall call = {
        .product = {static_cast<uint32_t>(layer.shape.members),
                    static_cast<uint32_t>(layer.shape.in), static_cast<uint32_t>(layer.shape.out),
                    x.data(), w.data(), all.data() + kMargin},
        .noise = layer.noise,
        .noise_rank = static_cast<uint32_t>(layer.shape.noise_rank),
        .sigma = layer.sigma};
    cuda::PerturbedLinear linear;
    if (is_perturbed)
      linear.forward(call, stream);
    else
      linear.forward_unperturbed(call.product, stream);
    copy_to_host(std::span(y), all.data(), stream);
    stream.synchronize();
    for (size_t i = 0; i < kMargin; ++i) {
      EXPECT_EQ(y[i], kPoison);
      EXPECT_EQ(y[y.size() - 1 - i], kPoison);
    }
    return Bits(y.begin() + kMargin, y.end() - kMargin);
  }
};

const LayerShape kShapes[] = {
    {1, 8, 8, 1},      {2, 8, 16, 2},      {3, 24, 40, 3},     {5, 2056, 8, 1},  {4, 8, 2072, 1},
    {37, 40, 72, 1},   {33, 136, 24, 2},   {2, 2056, 2056, 1}, {7, 264, 520, 4}, {19, 16, 8, 5},
    {2, 4104, 136, 4}, {6, 1032, 1000, 8}, {2, 136, 264, 12},  {9, 56, 104, 6},  {3, 72, 8, 17},
    {3, 2064, 24, 3},  {2, 4104, 16, 12},
};

TEST_F(PerturbedLinear, EveryOutputIsWithinItsBound) {
  Random random(std::random_device{}());
  double largest = 0;
  for (const LayerShape& shape : kShapes) {
    const Layer layer = random_layer(shape, random);
    const Bits y = outputs(layer);
    const auto expected =
        test::perturbed_linear_oracle(shape, layer.sigma, layer.noise, layer.x, layer.w);
    for (size_t i = 0; i < y.size(); ++i) {
      const double error = std::abs(float_of_bf16(y[i]) - expected[i].y);
      ASSERT_LE(error, expected[i].bound)
          << "member " << i / shape.out << ", output " << i % shape.out << " of " << shape.members
          << " x " << shape.in << " x " << shape.out << ", rank " << shape.noise_rank << ", seed "
          << layer.noise.seed;
      largest = std::max(largest, error / expected[i].bound);
    }
  }
  EXPECT_GT(largest, 0.4) << "the bound is far from what rounding alone does";
}

// Without weights nothing hides the perturbation, so that its own bound is small.
TEST_F(PerturbedLinear, PerturbationIsThatOfTheNoiseLaw) {
  Random random(std::random_device{}());
  for (const LayerShape& shape : kShapes) {
    const Layer layer = layer_without_weights(shape, random);
    const Bits y = outputs(layer);
    const auto expected =
        test::perturbed_linear_oracle(shape, layer.sigma, layer.noise, layer.x, layer.w);
    double size = 0, error = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_LE(std::abs(float_of_bf16(y[i]) - expected[i].y), expected[i].bound);
      size += std::pow(expected[i].perturbation, 2);
      error += std::pow(float_of_bf16(y[i]) - expected[i].y, 2);
    }
    EXPECT_LT(error, std::pow(1.01 * kBf16Roundoff, 2) * size);
  }
}

TEST_F(PerturbedLinear, MembersOfAPairWithTheSameInputAreExactNegatives) {
  Random random(std::random_device{}());
  for (const size_t noise_rank : {1, 2, 3, 4, 8}) {
    Layer layer = layer_without_weights({2, 2056, 136, noise_rank}, random);
    std::copy_n(layer.x.begin(), 2056, layer.x.begin() + 2056);
    const Bits y = outputs(layer);
    for (size_t o = 0; o < 136; ++o) ASSERT_EQ(float_of_bf16(y[o]), -float_of_bf16(y[136 + o]));
  }
}

TEST_F(PerturbedLinear, PairHasTheSameOutputsInEveryTile) {
  Random random(std::random_device{}());
  const size_t in = 88, out = 104, members = 41;
  const Layer all = layer_without_weights({members, in, out, 3}, random);
  const Bits y = outputs(all);
  for (const size_t first : {0, 2, 18, 40}) {
    Layer part = all;
    part.noise.pair += static_cast<uint32_t>(first / 2);
    part.shape.members = std::min<size_t>(3, members - first);
    part.x = Bits(all.x.begin() + static_cast<std::ptrdiff_t>(first * in),
                  all.x.begin() + static_cast<std::ptrdiff_t>((first + part.shape.members) * in));
    const Bits of_part = outputs(part);
    EXPECT_TRUE(std::equal(of_part.begin(), of_part.end(),
                           y.begin() + static_cast<std::ptrdiff_t>(first * out)));
  }
}

TEST_F(PerturbedLinear, SigmaZeroIsTheUnperturbedLayer) {
  Random random(std::random_device{}());
  Layer layer = random_layer({5, 264, 72, 2}, random);
  layer.sigma = 0;
  const auto expected =
      test::perturbed_linear_oracle(layer.shape, 0, layer.noise, layer.x, layer.w);
  for (const Bits& y : {outputs(layer), outputs(layer, false)})
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_LE(std::abs(float_of_bf16(y[i]) - expected[i].y), expected[i].bound);
}

TEST_F(PerturbedLinear, LargestRankIsWithinItsBound) {
  Random random(std::random_device{}());
  const LayerShape shape = {2, 8, 8, kMostNoiseTerms};
  const Layer layer = random_layer(shape, random);
  const Bits y = outputs(layer);
  const auto expected =
      test::perturbed_linear_oracle(shape, layer.sigma, layer.noise, layer.x, layer.w);
  for (size_t i = 0; i < y.size(); ++i)
    ASSERT_LE(std::abs(float_of_bf16(y[i]) - expected[i].y), expected[i].bound);
}

TEST_F(PerturbedLinear, InfiniteInputMakesItsMemberAloneNotFinite) {
  Random random(std::random_device{}());
  Layer layer = random_layer({4, 40, 24, 1}, random);
  layer.x[40 + 7] = 0x7f80;
  const Bits y = outputs(layer);
  for (size_t i = 0; i < y.size(); ++i)
    EXPECT_EQ(std::isfinite(float_of_bf16(y[i])), i / 24 != 1) << i;
}

TEST_F(PerturbedLinear, OtherSizesAreErrors) {
  Random random(1);
  const auto layer_of = [&](const LayerShape& shape) { return random_layer(shape, random); };
  for (const LayerShape& shape : {LayerShape{2, 12, 8, 1}, LayerShape{2, 8, 12, 1},
                                  LayerShape{2, 8, 8, 0}, LayerShape{2, 8, 8, kMostNoiseTerms + 1}})
    EXPECT_THROW(outputs(layer_of(shape)), Error);
  const Stream stream;
  DeviceBuffer<uint16_t> some(64);
  uint16_t* p = some.data();
  cuda::PerturbedLinear linear;
  const auto forward = [&](const ProductCall& call) {
    linear.forward({.product = call, .noise = {}, .noise_rank = 1, .sigma = 1}, stream);
  };
  EXPECT_THROW(forward({0, 8, 8, p, p, p}), Error);
  EXPECT_THROW(forward({1, 8, 8, p + 1, p, p}), Error);
  EXPECT_THROW(forward({1, 8, 8, p, p + 4, p}), Error);
  EXPECT_THROW(forward({1, 8, 8, p, p, nullptr}), Error);
  EXPECT_THROW(linear.forward_unperturbed({1, 0, 8, p, p, p}, stream), Error);
  // 2^29 (8 + 8) elements, of which there are addresses for half.
  EXPECT_THROW(linear.forward({.product = {1, 1u << 20, 1u << 20, p, p, p},
                               .noise = {},
                               .noise_rank = 4096,
                               .sigma = 1},
                              stream),
               Error);
}

TEST(Bfloat16, IsRoundedToNearestAndTiesToEven) {
  EXPECT_EQ(bf16_of_float(1.0f), 0x3f80);
  EXPECT_EQ(bf16_of_float(1 + 0x1p-8f), 0x3f80);  // a tie
  EXPECT_EQ(bf16_of_float(1 + 0x1p-8f + 0x1p-23f), 0x3f81);
  EXPECT_EQ(bf16_of_float(1 + 0x3p-8f), 0x3f82);  // a tie
  EXPECT_EQ(bf16_of_float(-0.0f), 0x8000);
  EXPECT_EQ(bf16_of_float(0x1.ffp127f), 0x7f80);
  EXPECT_EQ(bf16_of_float(-NAN), 0x7fff);
  Random random(std::random_device{}());
  for (int i = 0; i < 100000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value) || std::abs(value) < 0x1p-126f) continue;
    int exponent;
    const double mantissa = std::frexp(value, &exponent);
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
    if (std::abs(rounded) < 0x1p128) {
      ASSERT_EQ(float_of_bf16(bf16_of_float(value)), static_cast<float>(rounded));
    }
  }
}

}  // namespace
}  // namespace eggroll::cuda
