// The perturbed linear layer in fp32 and bf16, in every instruction set this machine has: against its
// one order of operations, bit for bit, and against double precision, within its bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "kernels/cpu/perturbed_linear.hpp"
#include "tests/support/isa_tables.hpp"
#include "tests/support/perturbed_layer.hpp"
#include "tests/support/perturbed_linear_oracle.hpp"

namespace eggroll::cpu {
namespace {

using test::ExactOutput;
using test::LayerShape;

// vdpbf16ps adds in an order of its own.
template <typename T>
bool has_the_order(const FloatIsa<T>& isa) {
  return std::string(isa.name) != "avx512 with bf16";
}

// Every table within the bound; returns the largest error as a share of it.
template <typename T>
double expect_within_bound(const Layer<T>& layer) {
  const std::vector<ExactOutput> exact = layer.exact();
  double largest = 0;
  for (const FloatIsa<T>* isa : float_isas_of_this_machine<T>()) {
    const std::vector<T> y = outputs(*isa, layer);
    size_t outside = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      const double bound = layer.bound(exact[i]);
      const double error = std::abs(test::exact_value(y[i]) - exact[i].y);
      if (!(error <= bound) && outside++ == 0)
        ADD_FAILURE() << isa->name << ": member " << i / layer.shape.out << ", output "
                      << i % layer.shape.out << " is " << error << " away, allowed " << bound
                      << " (" << layer.shape.members << " x " << layer.shape.in << " x "
                      << layer.shape.out << ", rank " << layer.shape.noise_rank << ")";
      largest = std::max(largest, error / bound);
    }
    EXPECT_EQ(outside, 0u) << isa->name;
  }
  return largest;
}

const LayerShape kShapes[] = {
    {1, 64, 64, 1},   {1, 256, 192, 4}, {2, 64, 128, 1},  {3, 128, 64, 2},  {4, 192, 192, 3},
    {5, 64, 320, 4},  {6, 256, 64, 5},  {7, 64, 64, 8},   {8, 320, 128, 1}, {9, 64, 192, 4},
    {10, 64, 64, 17}, {13, 576, 64, 1}, {48, 64, 128, 1}, {31, 128, 64, 4}, {3, 2048, 64, 6},
    {3, 2, 1, 1},     {7, 4, 3, 3},     {9, 30, 5, 4},    {13, 66, 65, 2},  {6, 126, 127, 5},
    {5, 250, 257, 1},
};

template <typename T>
class PerturbedLinearCpu : public testing::Test {};
using Elements = testing::Types<float, uint16_t>;
struct ElementName {
  template <typename T>
  static std::string GetName(int) {
    return kIsBf16<T> ? "bf16" : "fp32";
  }
};
TYPED_TEST_SUITE(PerturbedLinearCpu, Elements, ElementName);

TYPED_TEST(PerturbedLinearCpu, EveryOutputIsWithinItsBound) {
  Random random(1);
  double largest = 0;
  for (const LayerShape& shape : kShapes)
    largest = std::max(largest, expect_within_bound(random_layer<TypeParam>(shape, random)));
  EXPECT_GT(largest, kIsBf16<TypeParam> ? 0.9 : 0.01) << "the bound is far from what rounding does";
}

// Nothing hides the perturbation, so that its own bound is small.
TYPED_TEST(PerturbedLinearCpu, PerturbationAloneIsWithinItsBound) {
  Random random(2);
  for (const LayerShape& shape : kShapes)
    expect_within_bound(random_layer<TypeParam>(shape, random, 0));
}

TYPED_TEST(PerturbedLinearCpu, LargestNoiseAndNumbersAreWithinTheirBound) {
  Random random(3);
  const auto sign = [&] { return random() % 2 == 0 ? 1 : -1; };
  for (const LayerShape& shape : {LayerShape{7, 1024, 64, 1}, LayerShape{5, 256, 128, 4}})
    for (const float size : {0x1p-140f, 0x1p-130f, 0x1p-70f, 1.0f, 0x1p40f})
      for (const float sigma : {0x1p-100f, 0x1p-10f, 0x1p10f}) {
        const auto x = [&] { return size * static_cast<float>(1 + random() % 255); };
        const auto cancelling = [&] { return static_cast<float>(sign()) * x(); };
        const auto w = [&] {
          return static_cast<float>(sign() * static_cast<int>(random() % 128)) /
                 std::max(size, 0x1p-100f);
        };
        const auto largest = [](const NoiseAddress&, uint32_t) { return int8_t{kNoiseMax}; };
        const auto signs = [&](const NoiseAddress&, uint32_t) {
          return static_cast<int8_t>(sign() * kNoiseMax);
        };
        expect_within_bound(make_layer<TypeParam>(shape, sigma, x, x, largest));
        expect_within_bound(make_layer<TypeParam>(shape, sigma, x, w, largest));
        expect_within_bound(make_layer<TypeParam>(shape, sigma, cancelling, w, signs));
      }
}

TYPED_TEST(PerturbedLinearCpu, EveryInstructionSetGivesTheBitsOfTheOneOrder) {
  Random random(8);
  for (const LayerShape& shape : kShapes)
    for (const bool is_perturbed : {true, false}) {
      Layer<TypeParam> layer = random_layer<TypeParam>(shape, random);
      if (!is_perturbed) layer.sigma = 0;
      const std::vector<TypeParam> expected = outputs_in_order(layer);
      for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>()) {
        if (!has_the_order(*isa)) continue;
        ASSERT_EQ(outputs(*isa, layer), expected)
            << isa->name << ": " << shape.members << " x " << shape.in << " x " << shape.out;
      }
    }
}

// The last panel has as many vectors as it needs, and its tiles their own numbers of rows.
TYPED_TEST(PerturbedLinearCpu, OutputsAroundEveryVectorHaveTheOneOrder) {
  Random random(12);
  for (const size_t out : {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 66, 80, 81, 97})
    for (const size_t members : {1, 5, 11, 12, 13, 17, 24, 31})
      for (const bool is_perturbed : {true, false}) {
        auto layer = random_layer<TypeParam>({members, 34, out, 1 + out % 5}, random);
        if (!is_perturbed) layer.sigma = 0;
        expect_within_bound(layer);
        const std::vector<TypeParam> expected = outputs_in_order(layer);
        for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>())
          if (has_the_order(*isa)) {
            ASSERT_EQ(outputs(*isa, layer), expected)
                << isa->name << ": " << members << " x " << out;
          }
      }
}

// Also in fp32 of odd widths, which bf16 does not have.
TEST(PerturbedLinearOrder, HoldsForEveryWidth) {
  Random random(9);
  for (const size_t in : {1, 3, 5, 15, 17, 31, 63, 65, 127})
    for (const size_t out : {1, 3, 63, 65, 127}) {
      const auto layer = random_layer<float>({7, in, out, 1 + in % 5}, random);
      const std::vector<float> expected = outputs_in_order(layer);
      for (const FloatIsa<float>* isa : float_isas_of_this_machine<float>())
        ASSERT_EQ(outputs(*isa, layer), expected) << isa->name << ": " << in << " x " << out;
    }
}

// Each row reads one input, so every sum is exact: W and the noise come out as they went in.
TYPED_TEST(PerturbedLinearCpu, EveryWeightAndEveryElementOfNoiseHasItsPlace) {
  const LayerShape shape{128, 64, 192, 3};
  int weight = 0;
  Layer<TypeParam> layer = make_layer<TypeParam>(
      shape, 0, [] { return 0.0f; }, [&] { return static_cast<float>(++weight % 251); },
      noise_element);
  for (size_t row = 0; row < shape.members; ++row)
    layer.x[row * shape.in + row % shape.in] = element_of<TypeParam>(1);
  for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>()) {
    layer.sigma = 0;
    std::vector<TypeParam> y = outputs(*isa, layer);
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_EQ(y[i], layer.w[i % shape.out * shape.in + i / shape.out % shape.in]) << isa->name;
    // A single term, so that sqrt(r) is 1; as many of the elements as it needs.
    Layer<TypeParam> noisy = layer;
    noisy.shape.noise_rank = 1;
    noisy.sigma = 16;
    std::ranges::fill(noisy.w, TypeParam{0});
    noisy.noise.resize((shape.members / 2) * noisy.stride());
    y = outputs(*isa, noisy);
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t row = i / shape.out, o = i % shape.out;
      const int8_t* pair = noisy.noise.data() + row / 2 * noisy.stride();
      const int product = pair[row % shape.in] * pair[shape.in + o];
      const float expected = static_cast<float>(row % 2 == 0 ? product : -product) / 16;
      ASSERT_EQ(test::exact_value(y[i]), test::exact_value(element_of<TypeParam>(expected)))
          << isa->name << " member " << row << " output " << o;
    }
  }
}

TYPED_TEST(PerturbedLinearCpu, SigmaZeroIsTheUnperturbedProductBitForBit) {
  Random random(4);
  for (const LayerShape& shape : {LayerShape{13, 256, 128, 1}, LayerShape{5, 64, 192, 4}}) {
    Layer<TypeParam> layer = random_layer<TypeParam>(shape, random);
    for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>()) {
      layer.sigma = 0;
      const std::vector<TypeParam> unperturbed = outputs(*isa, layer);
      layer.sigma = 0x1p-100f;  // far below the last bit of any output
      EXPECT_EQ(outputs(*isa, layer), unperturbed) << isa->name;
      Layer<TypeParam> without_noise = layer;
      without_noise.sigma = 0;
      without_noise.noise.clear();
      EXPECT_EQ(outputs(*isa, without_noise), unperturbed) << isa->name;
    }
    layer.sigma = 0;
    expect_within_bound(layer);
  }
}

TYPED_TEST(PerturbedLinearCpu, MembersOfAPairWithTheSameInputAreExactNegatives) {
  Random random(5);
  for (const size_t noise_rank : {1, 2, 4, 7}) {
    Layer<TypeParam> layer = random_layer<TypeParam>({10, 320, 128, noise_rank}, random, 0);
    for (size_t row = 0; row < 10; row += 2)
      std::copy_n(layer.x.begin() + row * 320, 320, layer.x.begin() + (row + 1) * 320);
    for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>()) {
      const std::vector<TypeParam> y = outputs(*isa, layer);
      for (size_t i = 0; i < y.size(); ++i)
        if (i / 128 % 2 == 0) {
          ASSERT_EQ(test::exact_value(y[i]), -test::exact_value(y[i + 128])) << isa->name;
        }
    }
  }
}

TYPED_TEST(PerturbedLinearCpu, RowsHaveTheSameOutputsInAnyOrder) {
  Random random(11);
  const LayerShape shape{14, 190, 129, 5};
  const Layer<TypeParam> layer = random_layer<TypeParam>(shape, random);
  for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>()) {
    const std::vector<TypeParam> all = outputs(*isa, layer);
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<size_t> order(1 + random() % 20);  // also rows more than once
      for (size_t& row : order) row = random() % shape.members;
      const std::vector<TypeParam> y = outputs(*isa, layer, order);
      for (size_t i = 0; i < order.size(); ++i)
        ASSERT_TRUE(std::equal(y.begin() + i * shape.out, y.begin() + (i + 1) * shape.out,
                               all.begin() + order[i] * shape.out))
            << isa->name << " row " << i << " of " << order.size();
    }
  }
}

TYPED_TEST(PerturbedLinearCpu, MemberHasTheSameOutputsInEveryTile) {
  Random random(6);
  const LayerShape shape{14, 192, 128, 5};
  const Layer<TypeParam> all = random_layer<TypeParam>(shape, random);
  for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>()) {
    const std::vector<TypeParam> y = outputs(*isa, all);
    for (size_t first = 0; first < shape.members; first += 2)
      for (size_t members = 1; first + members <= shape.members; ++members) {
        Layer<TypeParam> part = all;
        part.shape.members = members;
        part.x.erase(part.x.begin(), part.x.begin() + first * shape.in);
        part.noise.erase(part.noise.begin(), part.noise.begin() + first / 2 * part.stride());
        const std::vector<TypeParam> of_part = outputs(*isa, part);
        ASSERT_TRUE(std::equal(of_part.begin(), of_part.end(), y.begin() + first * shape.out))
            << isa->name << " members " << first << " + " << members;
      }
  }
}

TYPED_TEST(PerturbedLinearCpu, InfiniteInputMakesItsMemberAloneNotFinite) {
  Random random(7);
  for (const float sigma : {0.0f, 0.1f})
    for (size_t member = 0; member < 7; ++member) {
      Layer<TypeParam> layer = random_layer<TypeParam>({7, 64, 128, 1}, random);
      layer.sigma = sigma;
      layer.x[member * 64 + 11] = element_of<TypeParam>(std::numeric_limits<float>::infinity());
      for (const FloatIsa<TypeParam>* isa : float_isas_of_this_machine<TypeParam>()) {
        const std::vector<TypeParam> y = outputs(*isa, layer);
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_EQ(std::isfinite(test::exact_value(y[i])), i / 128 != member) << isa->name;
      }
    }
}

TYPED_TEST(PerturbedLinearCpu, OtherSizesAreErrorsAndWriteNothing) {
  std::vector<TypeParam> some(64 * 64), y(64, TypeParam{7});
  std::vector<int8_t> elements(128);
  const NoisyRow noise{elements.data(), 1};
  std::vector<float> projection(1);
  using Call = PerturbedLinearCall<TypeParam>;
  const Call good = {.x = some.data(),
                     .panels = some.data(),
                     .rows = 1,
                     .in = 64,
                     .out = 64,
                     .noise = &noise,
                     .noise_rank = 1,
                     .projection = projection.data(),
                     .y = y.data()};
  const FloatIsa<TypeParam>& isa = float_isa_scalar<TypeParam>();
  const auto expect_error = [&](const auto& change) {
    Call call = good;
    change(call);
    EXPECT_THROW(perturbed_linear(isa, call), Error);
  };
  expect_error([](Call& c) { c.rows = 0; });
  expect_error([](Call& c) { c.in = 0; });
  expect_error([](Call& c) { c.out = 0; });
  if (kIsBf16<TypeParam>) expect_error([](Call& c) { c.in = 63; });
  expect_error([](Call& c) { c.noise_rank = 0; });
  expect_error([](Call& c) { c.noise_rank = (size_t{1} << 25) + 1; });
  expect_error([](Call& c) { c.x = nullptr; });
  expect_error([](Call& c) { c.panels = nullptr; });
  expect_error([](Call& c) { c.projection = nullptr; });
  expect_error([](Call& c) { c.y = nullptr; });
  EXPECT_EQ(y, std::vector<TypeParam>(64, TypeParam{7}));
  EXPECT_THROW(pack_panels(some.data(), 64, 0, some.data()), Error);
  EXPECT_THROW(pack_panels(some.data(), 0, 64, some.data()), Error);
  for (const float sigma : {0.0f, -1.0f, 0x1p-101f, 0x1p101f, std::nanf("")})
    EXPECT_THROW(perturbation_scale(sigma, 1), Error);
  perturbed_linear(isa, good);
  Call unperturbed = good;
  unperturbed.noise = nullptr;
  unperturbed.projection = nullptr;
  perturbed_linear(isa, unperturbed);
}

TYPED_TEST(PerturbedLinearCpu, GoesWithTheTableOfIntegers) {
  for (const Isa* isa : isas_of_this_machine()) {
    const std::string name = float_isa_of<TypeParam>(*isa).name, chosen = isa->name;
    std::cout << "with " << chosen << ": " << name << std::endl;
    EXPECT_TRUE(name.starts_with(chosen == "avxvnni" ? "avx2"
                                 : chosen == "amx"   ? "avx512"
                                                     : chosen));
  }
}

}  // namespace
}  // namespace eggroll::cpu
