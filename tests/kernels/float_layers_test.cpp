// Float layers on every device: against a slow model with the same order of operations, bit for
// bit, and against weights that are formed in double precision, within a bound.
#include "kernels/float_layers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/learner.hpp"
#include "tests/support/devices.hpp"
#include "tests/support/float_layers_oracle.hpp"

namespace eggroll {
namespace {

using namespace test;

// Pairs that rows share or do not, next to each other or not, and rows without noise.
std::vector<RowNoise> some_rows(size_t count, Random& random) {
  std::vector<RowNoise> rows;
  while (rows.size() < count) {
    const auto pair = static_cast<uint32_t>(random() % 5);
    rows.push_back({pair, random() % 4 == 0 ? 0.0f : random() % 2 == 0 ? 1.0f : -1.0f});
    if (random() % 2 == 0) rows.push_back({pair, -rows.back().sign});
  }
  rows.resize(count);
  return rows;
}

class FloatLayersOn : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(, FloatLayersOn, testing::ValuesIn(test::devices()), [](const auto& info) {
  std::string name = info.param;
  std::ranges::replace(name, ' ', '_');
  return name;
});

constexpr uint32_t kWidths[] = {1, 3, 5, 64, 65, 127};

TEST_P(FloatLayersOn, HaveTheBitsOfTheOneOrder) {
  Random random(1);
  for (const uint32_t in : kWidths)
    for (const uint32_t out : kWidths)
      for (const int noise_rank : {1, 3, 4}) {
        Model model(GetParam(), in, out, noise_rank, random);
        const std::vector<RowNoise> rows = some_rows(9, random);
        const std::vector<float> x = normal_numbers(rows.size() * in, random);
        model.layers->begin(kEpoch, kSigma, rows);
        for (const size_t tensor : {kMatrix, kFullMatrix, kFrozen}) {
          const std::vector<float> y = model.linear(tensor, x);
          for (size_t i = 0; i < rows.size(); ++i)
            ASSERT_EQ(std::vector<float>(y.begin() + i * out, y.begin() + (i + 1) * out),
                      model.oracle.linear(tensor, rows[i], x.data() + i * in))
                << in << " x " << out << ", noise rank " << noise_rank << ", row " << i;
        }
        std::vector<uint32_t> words(rows.size());
        for (uint32_t& word : words) word = random() % 11;
        std::vector<float> y(rows.size() * in);
        for (const size_t tensor : {kEmbedding, kFullEmbedding}) {
          model.layers->embed(tensor, words, y);
          for (size_t i = 0; i < y.size(); ++i)
            ASSERT_EQ(y[i], model.oracle.weight(tensor, rows[i / in], words[i / in], i % in));
        }
        const std::vector<float> before = normal_numbers(rows.size() * out, random);
        for (const size_t tensor : {kVector, kConstant}) {
          std::vector<float> after = before;
          model.layers->add_vector(tensor, after);
          for (size_t i = 0; i < after.size(); ++i)
            ASSERT_EQ(after[i], before[i] + model.oracle.weight(tensor, rows[i / out], i % out, 0));
        }
      }
}

TEST_P(FloatLayersOn, WriteTheirOutputsAndNothingBeside) {
  constexpr size_t kMargin = 80;
  constexpr float kGuard = 77;
  Random random(10);
  for (const uint32_t out : {1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 66, 130})
    for (const size_t count : {1, 6, 13, 26}) {
      Model model(GetParam(), 17, out, 1, random);
      const std::vector<RowNoise> rows = some_rows(count, random);
      const std::vector<float> x = normal_numbers(count * 17, random);
      model.layers->begin(kEpoch, kSigma, rows);
      std::vector<float> room(count * out + 2 * kMargin, kGuard);
      const auto y = std::span(room).subspan(kMargin, count * out);
      const auto expect_guards = [&] {
        for (size_t i = 0; i < kMargin; ++i)
          ASSERT_TRUE(room[i] == kGuard && room[room.size() - 1 - i] == kGuard) << out;
      };
      for (const size_t tensor : {kMatrix, kFullMatrix, kFrozen}) {
        model.layers->linear(tensor, x, y);
        expect_guards();
        for (size_t i = 0; i < count; ++i)
          ASSERT_EQ(std::vector<float>(y.begin() + i * out, y.begin() + (i + 1) * out),
                    model.oracle.linear(tensor, rows[i], x.data() + i * 17))
              << out << " outputs, row " << i << " of " << count;
      }
      for (const size_t tensor : {kVector, kConstant}) {
        const std::vector<float> before(y.begin(), y.end());
        std::vector<float> expected = before;
        model.layers->add_vector(tensor, expected);
        model.layers->add_vector(tensor, y);
        expect_guards();
        ASSERT_TRUE(std::ranges::equal(y, expected));
        model.layers->tanh(expected);
        std::ranges::copy(before, y.begin());
        model.layers->add_vector_and_tanh(tensor, y);
        expect_guards();
        ASSERT_TRUE(std::ranges::equal(y, expected)) << out;
      }
    }
}

// With u = 2^-24: |error| <= (in + r + 4) u (sum over the sizes of the terms), as in
// perturbed_linear.hpp.
TEST_P(FloatLayersOn, AreWithinTheirBoundOfFormedWeightsInDoublePrecision) {
  Random random(2);
  double largest = 0;
  for (const uint32_t in : kWidths)
    for (const int noise_rank : {1, 3, 4}) {
      const uint32_t out = 5;
      Model model(GetParam(), in, out, noise_rank, random);
      const std::vector<RowNoise> rows = some_rows(7, random);
      const std::vector<float> x = normal_numbers(rows.size() * in, random);
      model.layers->begin(kEpoch, kSigma, rows);
      for (const size_t tensor : {kMatrix, kFullMatrix, kFrozen}) {
        const std::vector<float> y = model.linear(tensor, x);
        for (size_t row = 0; row < rows.size(); ++row)
          for (size_t o = 0; o < out; ++o) {
            double exact = 0, sizes = 0;
            for (size_t i = 0; i < in; ++i) {
              const double input = x[row * in + i];
              exact += input * model.oracle.exact_weight(tensor, rows[row], o, i);
              // Of noise what no weight's own noise is beyond: terms of an exact weight may cancel.
              sizes += std::abs(input) * (std::abs(model.oracle.weights(tensor)[o * in + i]) +
                                          kSigma * std::sqrt(noise_rank) * 4 * 4);
            }
            const double error = std::abs(y[row * out + o] - exact);
            const double bound = (in + noise_rank + 4) * 0x1p-24 * sizes;
            ASSERT_LE(error, bound) << in << ", noise rank " << noise_rank;
            largest = std::max(largest, error / bound);
          }
      }
    }
  EXPECT_GT(largest, 0.02) << "the bound is far from what rounding does";
}

TEST_P(FloatLayersOn, GiveARowTheSameBitsInAnyBatchAndOrder) {
  Random random(3);
  const uint32_t in = 65, out = 67;
  Model model(GetParam(), in, out, 3, random);
  const std::vector<RowNoise> rows = some_rows(20, random);
  const std::vector<float> x = normal_numbers(rows.size() * in, random);
  for (const size_t tensor : {kMatrix, kFullMatrix, kFrozen}) {
    model.layers->begin(kEpoch, kSigma, rows);
    const std::vector<float> all = model.linear(tensor, x);
    for (int trial = 0; trial < 20; ++trial) {
      std::vector<size_t> order(1 + random() % 20);
      std::vector<RowNoise> some;
      std::vector<float> inputs, expected;
      for (size_t& row : order) {
        row = random() % rows.size();
        some.push_back(rows[row]);
        inputs.insert(inputs.end(), x.begin() + row * in, x.begin() + (row + 1) * in);
        expected.insert(expected.end(), all.begin() + row * out, all.begin() + (row + 1) * out);
      }
      model.layers->begin(kEpoch, kSigma, some);
      ASSERT_EQ(model.linear(tensor, inputs), expected) << trial;
    }
  }
}

TEST_P(FloatLayersOn, FormTheWeightsThatTheyWorkWith) {
  Random random(4);
  const uint32_t in = 65, out = 5;
  for (const int noise_rank : {1, 4}) {
    Model model(GetParam(), in, out, noise_rank, random);
    const std::vector<RowNoise> rows = {{3, 1}, {3, -1}, {9, 1}, {0, 0}};
    model.layers->begin(kEpoch, kSigma, rows);
    for (size_t tensor = 0; tensor < model.oracle.layout.tensors().size(); ++tensor) {
      const TensorSpec& spec = model.oracle.layout[tensor];
      std::vector<std::vector<float>> formed;
      for (const RowNoise& row : rows) {
        formed.emplace_back(spec.size());
        model.layers->materialise(tensor, row, formed.back());
        for (size_t e = 0; e < spec.size(); ++e)
          ASSERT_EQ(formed.back()[e],
                    model.oracle.weight(tensor, row, e / spec.cols, e % spec.cols));
      }
      if (spec.role != Role::matrix) continue;
      // Each row reads one input, so a linear layer reads out one column of the weights.
      for (size_t column = 0; column < in; ++column) {
        std::vector<float> x(rows.size() * in);
        for (size_t row = 0; row < rows.size(); ++row) x[row * in + column] = 1;
        const std::vector<float> y = model.linear(tensor, x);
        for (size_t i = 0; i < y.size(); ++i) {
          const float w = formed[i / out][i % out * in + column];
          // Of a few terms, in another order.
          ASSERT_NEAR(y[i], w, 8 * 0x1p-24 * (std::abs(w) + kSigma * 16 * noise_rank));
        }
      }
    }
  }
}

TEST_P(FloatLayersOn, FollowRowsThatLeaveAndCome) {
  Random random(5);
  const uint32_t in = 9, out = 6;
  Model model(GetParam(), in, out, 2, random);
  for (int step = 0; step < 40; ++step) {
    std::vector<RowNoise> rows = some_rows(1 + random() % 9, random);
    for (RowNoise& row : rows) row.pair += static_cast<uint32_t>(step / 4);
    const std::vector<float> x = normal_numbers(rows.size() * in, random);
    model.oracle.epoch = kEpoch + static_cast<uint32_t>(step / 8 % 2);
    model.layers->begin(model.oracle.epoch, kSigma, rows);
    for (const size_t tensor : {kMatrix, kFullMatrix}) {
      if (random() % 3 == 0) continue;  // what is not used in a step has no noise of it
      const std::vector<float> y = model.linear(tensor, x);
      for (size_t i = 0; i < rows.size(); ++i)
        ASSERT_EQ(std::vector<float>(y.begin() + i * out, y.begin() + (i + 1) * out),
                  model.oracle.linear(tensor, rows[i], x.data() + i * in))
            << "step " << step << " row " << i;
    }
    if (step % 10 == 9) {  // other weights
      for (float& value : model.oracle.values) value += 1;
      model.learner->write(0, std::as_bytes(std::span(model.oracle.values)));
    }
  }
}

TEST_P(FloatLayersOn, TakeSigmaZeroAsNoNoise) {
  Random random(6);
  Model model(GetParam(), 7, 5, 1, random);
  const std::vector<float> x = normal_numbers(2 * 7, random);
  for (const size_t tensor : {kMatrix, kFullMatrix}) {
    model.layers->begin(kEpoch, 0, std::vector<RowNoise>{{1, 1}, {2, -1}});
    const std::vector<float> without_size = model.linear(tensor, x);
    model.layers->begin(kEpoch, kSigma, std::vector<RowNoise>(2));
    EXPECT_EQ(model.linear(tensor, x), without_size);
    model.layers->begin(kEpoch, kSigma, std::vector<RowNoise>{{1, 1}, {2, -1}});
    EXPECT_NE(model.linear(tensor, x), without_size);
  }
  // Noise of no size would make a number of this that is none.
  std::vector<float> infinite(2 * 7);
  infinite[3] = HUGE_VALF;
  model.layers->begin(kEpoch, 0, std::vector<RowNoise>{{1, 1}, {2, -1}});
  for (size_t o = 0; o < 5; ++o) EXPECT_TRUE(std::isinf(model.linear(kMatrix, infinite)[o]));
}

TEST_P(FloatLayersOn, RefuseWhatDoesNotFit) {
  Random random(7);
  Model model(GetParam(), 7, 5, 1, random);
  FloatLayers& layers = *model.layers;
  for (const float sigma : {-1.0f, std::nanf(""), 0x1p101f})
    EXPECT_THROW(layers.begin(kEpoch, sigma, {}), Error);
  layers.begin(kEpoch, kSigma, std::vector<RowNoise>(2));
  std::vector<float> x(14), y(10);
  layers.linear(kMatrix, x, y);
  EXPECT_THROW(layers.linear(kVector, x, y), Error);
  EXPECT_THROW(layers.linear(kMatrix, x, x), Error);
  EXPECT_THROW(layers.linear(kMatrix, y, y), Error);
  EXPECT_THROW(layers.embed(kEmbedding, std::vector<uint32_t>{1, 11}, x), Error);
  EXPECT_THROW(layers.embed(kEmbedding, std::vector<uint32_t>{1}, x), Error);
  EXPECT_THROW(layers.embed(kMatrix, std::vector<uint32_t>{1, 2}, x), Error);
  EXPECT_THROW(layers.add_vector(kVector, x), Error);
  EXPECT_THROW(layers.add_vector_and_tanh(kVector, x), Error);
  EXPECT_THROW(layers.add_vector(kMatrix, y), Error);
  EXPECT_THROW(layers.materialise(kMatrix, {}, x), Error);
}

TEST(RowNoise, MembersArePairsOrIndependent) {
  EXPECT_EQ(noise_of_member(6, Sampling::antithetic), (RowNoise{3, 1}));
  EXPECT_EQ(noise_of_member(7, Sampling::antithetic), (RowNoise{3, -1}));
  EXPECT_EQ(noise_of_member(7, Sampling::independent), (RowNoise{7, 1}));
}

}  // namespace
}  // namespace eggroll
