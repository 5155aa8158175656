// Layouts of parameters and their text; those of the integer model, its start values, and the split of
// the pairs over ranks.
#include "common/layout.hpp"

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
#include "kernels/int_rnn.hpp"

namespace eggroll {
namespace {

const IntRnnShape kShapes[] = {{0, 64}, {1, 64}, {2, 64}, {2, 256}, {6, 256}, {3, 1024}};

TEST(Parameters, HaveTheirNamesShapesAndKindsInTheOrderOfTheNoise) {
  const uint32_t d = 64;
  const ParameterLayout layout = int_rnn_layout({2, d});
  struct Expected {
    const char* name;
    Role role;
    uint32_t rows, cols;
  };
  const Role matrix = Role::matrix, vector = Role::vector;
  const std::vector<Expected> expected = {
      {"emb", Role::embedding, 256, d},  {"head", matrix, 256, d},
      {"layers.0.Wf", matrix, d, d},     {"layers.0.Uf", matrix, d, d},
      {"layers.0.Wh", matrix, d, d},     {"layers.0.Uh", matrix, d, d},
      {"layers.0.W1", matrix, 4 * d, d}, {"layers.0.W2", matrix, d, 4 * d},
      {"layers.1.Wf", matrix, d, d},     {"layers.1.Uf", matrix, d, d},
      {"layers.1.Wh", matrix, d, d},     {"layers.1.Uh", matrix, d, d},
      {"layers.1.W1", matrix, 4 * d, d}, {"layers.1.W2", matrix, d, 4 * d},
      {"layers.0.bf", vector, d, 1},     {"layers.0.bh", vector, d, 1},
      {"layers.0.ln1", vector, d, 1},    {"layers.0.ln2", vector, d, 1},
      {"layers.1.bf", vector, d, 1},     {"layers.1.bh", vector, d, 1},
      {"layers.1.ln1", vector, d, 1},    {"layers.1.ln2", vector, d, 1},
      {"ln_out", vector, d, 1},
  };
  ASSERT_EQ(layout.tensors().size(), expected.size());
  for (size_t t = 0; t < expected.size(); ++t) {
    EXPECT_EQ(layout[t].name, expected[t].name);
    EXPECT_EQ(layout[t].role, expected[t].role) << layout[t].name;
    EXPECT_EQ(layout[t].noise, expected[t].role == vector ? Noise::product : Noise::low_rank);
    EXPECT_EQ(layout[t].element, Element::int8);
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
      EXPECT_EQ(tensor.at, end) << tensor.name;
      EXPECT_EQ(tensor.offset % 64, 0u) << tensor.name;
      end = tensor.offset + tensor.size();
      EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name << " comes twice";
    }
    EXPECT_EQ(layout.size(), end);
    EXPECT_EQ(layout.trained(), end);
    EXPECT_EQ(layout.bytes(), end);
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
      if (tensor.role != Role::vector)
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
    if (tensor.role == Role::vector) continue;
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

// Every role, noise and element, odd sizes, and frozen tensors in between.
ParameterLayout mixed_layout() {
  ParameterLayout layout;
  layout.add("a", Role::vector, Noise::product, Element::int8, 7, 1);
  layout.add("b.weight", Role::matrix, Noise::low_rank, Element::float32, 3, 5);
  layout.add("frozen", Role::embedding, Noise::none, Element::int8, 11, 3);
  layout.add("c", Role::matrix, Noise::full, Element::int32, 2, 2);
  layout.add("d", Role::embedding, Noise::low_rank, Element::float32, 65, 127);
  layout.add("last", Role::vector, Noise::none, Element::float32, 4294967295u, 1);
  return layout;
}

TEST(Layout, ElementsAreAlignedInTheArenaAndFrozenOnesAreNotAmongTheTrained) {
  const ParameterLayout layout = mixed_layout();
  const size_t at[] = {0, 8, 68, 104, 120, 120 + 4 * 65 * 127};
  const size_t offset[] = {0, 7, 22, 22, 26, 26 + 65 * 127};
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    EXPECT_EQ(layout[t].at, at[t]) << layout[t].name;
    EXPECT_EQ(layout[t].at % bytes_of(layout[t].element), 0u);
    EXPECT_EQ(layout[t].offset, offset[t]) << layout[t].name;
    EXPECT_EQ(layout[t].bytes(), layout[t].size() * bytes_of(layout[t].element));
    EXPECT_EQ(layout[t].is_trained(), layout[t].noise != Noise::none);
  }
  EXPECT_EQ(layout.size(), 7u + 15 + 33 + 4 + 65 * 127 + size_t{4294967295u});
  EXPECT_EQ(layout.trained(), 7u + 15 + 4 + 65 * 127);
  EXPECT_EQ(layout.bytes(), at[5] + 4 * size_t{4294967295u});
}

TEST(Layout, IsItsTextAndTheTextIsALineATensor) {
  EXPECT_EQ(mixed_layout().text(),
            "a vector product int8 7 1\n"
            "b.weight matrix low_rank float32 3 5\n"
            "frozen embedding none int8 11 3\n"
            "c matrix full int32 2 2\n"
            "d embedding low_rank float32 65 127\n"
            "last vector none float32 4294967295 1\n");
  for (const ParameterLayout& layout :
       {mixed_layout(), int_rnn_layout({3, 256}), ParameterLayout()}) {
    const ParameterLayout again = ParameterLayout::parse(layout.text());
    EXPECT_EQ(again.text(), layout.text());
    EXPECT_EQ(again.bytes(), layout.bytes());
    EXPECT_EQ(again.trained(), layout.trained());
    ASSERT_EQ(again.tensors().size(), layout.tensors().size());
    for (size_t t = 0; t < layout.tensors().size(); ++t) {
      EXPECT_EQ(again[t].at, layout[t].at);
      EXPECT_EQ(again[t].offset, layout[t].offset);
    }
  }
  // The last line may end without a line break.
  EXPECT_EQ(ParameterLayout::parse("a vector full int8 7 1").text(), "a vector full int8 7 1\n");
}

TEST(Layout, TextThatIsNoneIsRefusedWithTheNumberOfItsLine) {
  const char* good = "a matrix low_rank int8 7 1\n";
  const char* bad[] = {
      "\n",
      " \n",
      "a\n",
      "b matrix low_rank int8 7\n",
      "b matrix low_rank int8 7 \n",
      "b matrix low_rank int8 7 1 1\n",
      "b matrix low_rank int8  7 1\n",
      "b matrix low_rank int8 7 1x\n",
      "b matrix low_rank int8 0x7 1\n",
      "b matrix low_rank int8 +7 1\n",
      "b matrix low_rank int8 -7 1\n",
      "b matrix low_rank int8 7.0 1\n",
      "b matrix low_rank int8 4294967296 1\n",
      "b matrix low_rank int8 99999999999999999999999 1\n",
      "b matrix low_rank int16 7 1\n",
      "b matrix low-rank int8 7 1\n",
      "b matrix lowrank int8 7 1\n",
      "b Matrix low_rank int8 7 1\n",
      "b  low_rank int8 7 1\n",
      "b matrix low_rank int8 7 1\r\n",
  };
  for (const char* line : bad) {
    SCOPED_TRACE(line);
    for (const int before : {0, 2}) {
      std::string text;
      for (int i = 0; i < before; ++i)
        text += std::string(1, static_cast<char>('v' + i)) + (good + 1);
      text += line;
      try {
        ParameterLayout::parse(text);
        ADD_FAILURE() << "taken";
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("line " + std::to_string(before + 1)),
                  std::string::npos)
            << error.what();
      }
    }
  }
  EXPECT_THROW(ParameterLayout::parse(std::string("a matrix low_rank int8 7 1\0", 27)), Error);
}

TEST(Layout, TensorsThatCannotBeAreRefused) {
  ParameterLayout layout;
  const auto add = [&](const char* name, Role role, Noise noise, uint32_t rows, uint32_t cols) {
    layout.add(name, role, noise, Element::float32, rows, cols);
  };
  add("there", Role::matrix, Noise::full, 2, 2);
  EXPECT_THROW(add("there", Role::matrix, Noise::full, 2, 2), Error);
  EXPECT_THROW(add("", Role::matrix, Noise::full, 2, 2), Error);
  EXPECT_THROW(add("a", Role::matrix, Noise::full, 0, 2), Error);
  EXPECT_THROW(add("a", Role::matrix, Noise::none, 2, 0), Error);
  EXPECT_THROW(add("a", Role::vector, Noise::full, 2, 2), Error);
  EXPECT_THROW(add("a", Role::vector, Noise::low_rank, 2, 1), Error);
  for (const char* name : {"two words", "two\nlines", "a\ttab", "\x7f"})
    EXPECT_THROW(add(name, Role::matrix, Noise::full, 2, 2), Error) << name;
  // Noise that has no addresses: 2^32 of them a pair.
  EXPECT_THROW(add("a", Role::matrix, Noise::full, 65536, 65536), Error);
  EXPECT_THROW(add("a", Role::matrix, Noise::product, 65536, 32769), Error);
  EXPECT_THROW(add("a", Role::matrix, Noise::low_rank, 4294967295u, 1), Error);
  EXPECT_EQ(layout.tensors().size(), 1u);
  EXPECT_EQ(layout.trained(), 4u);
  EXPECT_EQ(layout.bytes(), 16u);
  add("a", Role::matrix, Noise::full, 65536, 65535);
  EXPECT_EQ(layout.index_of("a"), 1u);
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
