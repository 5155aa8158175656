// The product of the update of each instruction set table, at the largest sums there can be,
// against int64 written out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "common/noise.hpp"
#include "tests/support/isa_tables.hpp"

namespace eggroll::cpu {
namespace {

using test::BeforeAHole;
using test::Guarded;
using test::isa_tables;
using test::IsaTable;
using Random = std::mt19937_64;

// z (+)= sum_k x_k w_k with the offset of 128 in x, in the layouts of the table's header.
void expect_outer(size_t out, size_t in, size_t terms, int d_a, int b, bool is_random,
                  Random& random, size_t beyond = 0) {
  std::vector<int> x(terms * out), w(terms * in);
  const auto fill = [&](std::vector<int>& values, int largest) {
    for (int& v : values)
      v = !is_random
              ? largest
              : static_cast<int>(random() % static_cast<unsigned>(2 * std::abs(largest) + 1)) -
                    std::abs(largest);
  };
  fill(x, d_a);
  fill(w, b);
  std::vector<uint8_t> packed_x(x.size());
  std::vector<int8_t> packed_w(w.size());
  for (size_t k = 0; k < terms; ++k) {
    for (size_t row = 0; row < out; ++row)
      packed_x[(k / 4 * out + row) * 4 + k % 4] = static_cast<uint8_t>(x[k * out + row] + 128);
    for (size_t col = 0; col < in; ++col)
      packed_w[((col / 64 * (terms / 4) + k / 4) * 64 + col % 64) * 4 + k % 4] =
          static_cast<int8_t>(w[k * in + col]);
  }
  const BeforeAHole<uint8_t> all_x(packed_x);
  const BeforeAHole<int8_t> all_w(packed_w);
  // What is there before brings the total as near to the end of an int32 as it can come.
  const int64_t largest = int64_t{d_a} * b * static_cast<int64_t>(terms);
  const int32_t before = static_cast<int32_t>(largest > 0 ? INT32_MAX - std::abs(largest)
                                                          : -INT32_MAX + std::abs(largest));
  for (const IsaTable& table : isa_tables()) {
    const size_t z_row = in + beyond;  // elements from row to row
    Guarded<int32_t> z(out * z_row);
    std::fill_n(z.data(), out * z_row, before);
    size_t wrong = 0;
    for (bool add : {true, false}) {
      table.isa->outer(all_x.data(), all_w.data(), terms / 4, out, in, add, z.data(), z_row);
      for (size_t row = 0; row < out; ++row)
        for (size_t col = 0; col < in; ++col) {
          int64_t sum = add ? before : 0;
          for (size_t k = 0; k < terms; ++k) sum += int64_t{x[k * out + row]} * w[k * in + col];
          wrong += z[row * z_row + col] != sum;
        }
      for (size_t row = 0; row < out; ++row)
        for (size_t col = in; col < z_row; ++col) wrong += z[row * z_row + col] != before;
    }
    EXPECT_EQ(wrong, 0u) << table.isa->name << " out " << out << " in " << in << " terms " << terms;
    EXPECT_TRUE(z.margins_are_untouched()) << table.isa->name;
  }
}

TEST(Outer, SumsOfFourThousandTermsAtTheirLargestAreExact) {
  Random random(5);
  for (int d : {2, -2})
    for (int a : {kNoiseMax, -kNoiseMax})
      expect_outer(14, 64, 4096, d * a, kNoiseMax, false, random);
  expect_outer(14, 64, 4096, 2 * kNoiseMax, kNoiseMax, true, random);
}

TEST(Outer, AnyNumberOfRowsAndPanelsIsInPlace) {
  Random random(6);
  std::vector<size_t> rows(13);
  std::iota(rows.begin(), rows.end(), 1);
  rows.insert(rows.end(), {16, 17, 32, 49, 70});  // tiles of 16, two by two
  for (size_t out : rows)
    for (size_t in : {64, 192})
      for (size_t terms : {4, 12, 512})
        expect_outer(out, in, terms, 2 * kNoiseMax, kNoiseMax, true, random);
}

TEST(Outer, WhatStandsBetweenTheRowsStaysAsItIs) {
  Random random(7);
  for (size_t out : {1, 7, 33})
    for (size_t beyond : {1, 3, 63})
      expect_outer(out, 128, 12, 2 * kNoiseMax, kNoiseMax, true, random, beyond);
}

}  // namespace
}  // namespace eggroll::cpu
