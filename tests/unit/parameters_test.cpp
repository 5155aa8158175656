// The layout of the model's parameters, their start values, and the split of the pairs over ranks.
#include "common/parameters.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/noise.hpp"
#include "common/partition.hpp"

namespace eggroll {
namespace {

const IntRnnShape kShapes[] = {{0, 64}, {1, 64}, {2, 64}, {2, 256}, {6, 256}, {3, 1024}};

TEST(Parameters, HaveTheirNamesShapesAndKindsInTheOrderOfTheNoise) {
  const uint32_t d = 64;
  const ParameterLayout layout = int_rnn_layout({2, d});
  struct Expected {
    const char* name;
    TensorKind kind;
    uint32_t rows, cols;
  };
  const TensorKind matrix = TensorKind::matrix, vector = TensorKind::vector;
  const std::vector<Expected> expected = {
      {"emb", TensorKind::embedding, 256, d},
      {"head", matrix, 256, d},
      {"layers.0.Wf", matrix, d, d},
      {"layers.0.Uf", matrix, d, d},
      {"layers.0.Wh", matrix, d, d},
      {"layers.0.Uh", matrix, d, d},
      {"layers.0.W1", matrix, 4 * d, d},
      {"layers.0.W2", matrix, d, 4 * d},
      {"layers.1.Wf", matrix, d, d},
      {"layers.1.Uf", matrix, d, d},
      {"layers.1.Wh", matrix, d, d},
      {"layers.1.Uh", matrix, d, d},
      {"layers.1.W1", matrix, 4 * d, d},
      {"layers.1.W2", matrix, d, 4 * d},
      {"layers.0.bf", vector, d, 1},
      {"layers.0.bh", vector, d, 1},
      {"layers.0.ln1", vector, d, 1},
      {"layers.0.ln2", vector, d, 1},
      {"layers.1.bf", vector, d, 1},
      {"layers.1.bh", vector, d, 1},
      {"layers.1.ln1", vector, d, 1},
      {"layers.1.ln2", vector, d, 1},
      {"ln_out", vector, d, 1},
  };
  ASSERT_EQ(layout.tensors().size(), expected.size());
  for (size_t t = 0; t < expected.size(); ++t) {
    EXPECT_EQ(layout[t].name, expected[t].name);
    EXPECT_EQ(layout[t].kind, expected[t].kind) << layout[t].name;
    EXPECT_EQ(layout[t].rows, expected[t].rows) << layout[t].name;
    EXPECT_EQ(layout[t].cols, expected[t].cols) << layout[t].name;
    EXPECT_EQ(layout.index_of(expected[t].name), t);
  }
}

TEST(Parameters, CountIs513WidthsAndEachLayers4WidthsAnd12Squares) {
  for (const IntRnnShape& shape : kShapes) {
    const size_t d = shape.width;
    const ParameterLayout layout = int_rnn_layout(shape);
    EXPECT_EQ(layout.size(), 513 * d + shape.layers * (4 * d + 12 * d * d));
    size_t outside_layers = 0;
    for (const char* name : {"emb", "head", "ln_out"})
      outside_layers += layout[layout.index_of(name)].size();
    EXPECT_EQ(outside_layers, kVocabulary * d + kVocabulary * d + d);
    EXPECT_EQ(outside_layers, 513 * d);
  }
}

TEST(Parameters, LieOneBehindTheOtherOnMultiplesOf64) {
  for (const IntRnnShape& shape : kShapes) {
    const ParameterLayout layout = int_rnn_layout(shape);
    std::set<std::string> names;
    size_t end = 0;
    for (const TensorSpec& tensor : layout.tensors()) {
      EXPECT_EQ(tensor.offset, end) << tensor.name;
      EXPECT_EQ(tensor.offset % 64, 0u) << tensor.name;
      end = tensor.offset + tensor.size();
      EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name << " comes twice";
    }
    EXPECT_EQ(layout.size(), end);
  }
}

TEST(Parameters, AnUnknownNameIsAnError) {
  EXPECT_THROW(int_rnn_layout({1, 64}).index_of("layers.1.Wf"), Error);
}

TEST(Parameters, StartFromTheNoiseLawZeroBiasesAndNormWeightsOfOne) {
  const IntRnnShape shape{2, 64};
  const uint64_t seed = 0xFEDCBA9876543210u;
  const ParameterLayout layout = int_rnn_layout(shape);
  const std::vector<int8_t> values = int_rnn_initial_parameters(shape, seed);
  ASSERT_EQ(values.size(), layout.size());
  for (uint32_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& tensor = layout[t];
    const std::string part = tensor.name.substr(tensor.name.rfind('.') + 1);
    for (uint32_t e = 0; e < tensor.size(); ++e) {
      int expected = 16;  // ln1, ln2, ln_out
      if (tensor.kind != TensorKind::vector)
        expected = noise_element({seed, kInitialisationEpoch, t, 0}, e);
      else if (part == "bf" || part == "bh")
        expected = 0;
      ASSERT_EQ(values[tensor.offset + e], expected) << tensor.name << " element " << e;
    }
  }
}

TEST(Parameters, StartValuesHaveAStandardDeviationOfOneAndDependOnTheSeed) {
  const IntRnnShape shape{2, 256};
  const ParameterLayout layout = int_rnn_layout(shape);
  const std::vector<int8_t> values = int_rnn_initial_parameters(shape, 1);
  EXPECT_EQ(values, int_rnn_initial_parameters(shape, 1));
  EXPECT_NE(values, int_rnn_initial_parameters(shape, 2));
  for (const TensorSpec& tensor : layout.tensors()) {
    if (tensor.kind == TensorKind::vector) continue;
    const double n = static_cast<double>(tensor.size());
    double sum = 0, sum2 = 0;
    for (size_t e = tensor.offset; e < tensor.offset + tensor.size(); ++e) {
      sum += values[e];
      sum2 += static_cast<double>(values[e]) * values[e];
    }
    EXPECT_NEAR(sum / n, 0, 5 * 16 / std::sqrt(n)) << tensor.name;
    EXPECT_NEAR(sum2 / n, 256, 5 * 256 * std::sqrt(2 / n)) << tensor.name;  // 16 = 1.0
  }
}

TEST(Partition, RanksCoverAllPairsInOrderWithoutOverlap) {
  std::vector<uint64_t> populations = {1u << 19, (uint64_t{1} << 32) - 7};
  for (uint64_t pairs = 0; pairs <= 200; ++pairs) populations.push_back(pairs);
  for (uint64_t pairs : populations) {
    for (int ranks : {1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 1000}) {
      uint64_t end = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const PairRange range = pairs_of_rank(pairs, rank, ranks);
        ASSERT_EQ(range.first, end) << pairs << " pairs, rank " << rank << " of " << ranks;
        end = range.end();
      }
      ASSERT_EQ(end, pairs) << ranks << " ranks";
    }
  }
}

TEST(Partition, RanksOwnWholeTilesAndDifferByAtMostOne) {
  for (uint64_t pairs : {1, 15, 16, 17, 100, 1024, 1000003}) {
    for (int ranks : {1, 2, 3, 4, 7, 64}) {
      uint64_t fewest = UINT64_MAX, most = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const PairRange range = pairs_of_rank(pairs, rank, ranks);
        if (range.count > 0) {
          EXPECT_EQ(range.first % kTilePairs, 0u);
        }
        if (range.end() != pairs) {
          EXPECT_EQ(range.end() % kTilePairs, 0u);
        }
        const uint64_t tiles = (range.count + kTilePairs - 1) / kTilePairs;
        fewest = std::min(fewest, tiles);
        most = std::max(most, tiles);
      }
      EXPECT_LE(most - fewest, 1u) << pairs << " pairs, " << ranks << " ranks";
    }
  }
}

}  // namespace
}  // namespace eggroll
