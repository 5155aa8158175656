// What stands between float layers, on every device: against double precision within a bound, and with
// the same bits on all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "kernels/float_layers.hpp"
#include "tests/support/devices.hpp"

namespace eggroll {
namespace {

class ActivationsOn : public testing::TestWithParam<std::string> {
 protected:
  ActivationsOn() {
    ParameterLayout layout;
    layout.add("vector", Role::vector, Noise::full, Element::float32, 1, 1);
    device_ = test::device_on(GetParam());
    learner_ = device_->make_learner({.layout = layout, .optimizer = "sgd"});
    layers_ = device_->make_float_layers({}, *learner_);
  }
  FloatLayers& layers() { return *layers_; }

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<FloatLayers> layers_;
};
INSTANTIATE_TEST_SUITE_P(, ActivationsOn, testing::ValuesIn(test::devices()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace(name, ' ', '_');
  return name;
});

TEST_P(ActivationsOn, HaveTheSameTangentsEverywhere) {
  std::vector<float> x;  // over all sizes, both signs
  for (uint32_t bits = 0x30000000; bits < 0x41800000; bits += 997) {
    x.push_back(std::bit_cast<float>(bits));
    x.push_back(-x.back());
  }
  std::vector<float> y = x;
  layers().tanh(y);
  double most = 0;
  uint64_t digest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::tanh(double{x[i]});
    const double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
    most = std::max(most, std::abs(y[i] - exact) / unit);
    digest = digest * 1099511628211u + std::bit_cast<uint32_t>(y[i]);
  }
  EXPECT_LT(most, 5);
  EXPECT_EQ(digest, 2201648332240811120u);
  std::vector<float> ends = {0, -0.0f, HUGE_VALF, -HUGE_VALF, 1e30f, 1e-42f, std::nanf("")};
  layers().tanh(ends);
  EXPECT_EQ(std::bit_cast<uint32_t>(ends[1]), 0x80000000u);
  EXPECT_EQ(ends[2], 1);
  EXPECT_EQ(ends[3], -1);
  EXPECT_EQ(ends[4], 1);
  EXPECT_EQ(ends[5], 1e-42f);
  EXPECT_TRUE(std::isnan(ends[6]));
}

TEST_P(ActivationsOn, NormaliseRowsAlikeEverywhere) {
  std::mt19937_64 random(9);
  uint64_t digest = 0;
  for (const size_t cols : {1, 5, 16, 70, 257}) {
    std::vector<float> x(3 * cols);
    for (float& value : x) value = static_cast<float>(random() % 2001) / 250 - 4;
    std::vector<float> y = x;
    layers().normalise(cols, y);
    for (size_t row = 0; row < 3; ++row) {
      double mean = 0, variance = 0;
      for (size_t i = 0; i < cols; ++i) mean += x[row * cols + i] / static_cast<double>(cols);
      for (size_t i = 0; i < cols; ++i)
        variance += std::pow(x[row * cols + i] - mean, 2) / static_cast<double>(cols);
      for (size_t i = 0; i < cols; ++i) {
        const double exact = (x[row * cols + i] - mean) / std::sqrt(variance + 1e-6);
        EXPECT_NEAR(y[row * cols + i], exact, 1e-5 + (cols == 1 ? 1e-3 : 0));
        digest = digest * 1099511628211u + std::bit_cast<uint32_t>(y[row * cols + i]);
      }
    }
  }
  EXPECT_EQ(digest, 8764801474312085037u);
  std::vector<float> some(10);
  EXPECT_THROW(layers().normalise(4, some), Error);
  EXPECT_THROW(layers().normalise(0, some), Error);
}

}  // namespace
}  // namespace eggroll
