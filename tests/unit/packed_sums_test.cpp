// Sums come out of their packing as they went in, in the fewest bytes that hold the largest.
#include "common/messages/packed_sums.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "common/check.hpp"

namespace eggroll {
namespace {

template <typename T>
class PackedSums : public testing::Test {
 protected:
  using Sums = std::vector<T>;
  static std::vector<std::byte> packed(const Sums& sums) {
    std::vector<std::byte> bytes(most_packed_bytes<T>(sums.size()), std::byte{0xa5});
    bytes.resize(pack_sums(std::span<const T>(sums), bytes));
    return bytes;
  }
  static size_t width_of(const Sums& sums) {
    return (packed(sums).size() - kPackedHeaderBytes) / sums.size();
  }
  static void expect_same(const Sums& sums) {
    const std::vector<std::byte> bytes = packed(sums);
    Sums out(sums.size(), T{-77}), added(sums.size(), T{1000});
    unpack_sums<T>(bytes, out);
    EXPECT_EQ(out, sums);
    // Where the sum would overflow there is nothing to be learnt.
    Sums expected(sums.size(), T{1000});
    for (size_t i = 0; i < sums.size(); ++i)
      if (sums[i] > std::numeric_limits<T>::max() - 1000) return;
    for (size_t i = 0; i < sums.size(); ++i) expected[i] += sums[i];
    add_packed_sums<T>(bytes, added);
    EXPECT_EQ(added, expected);
  }
};
using Widths = testing::Types<int32_t, int64_t>;
TYPED_TEST_SUITE(PackedSums, Widths, );

TYPED_TEST(PackedSums, TakeTheFewestBytesThatHoldTheLargest) {
  struct Edge {
    int64_t least, largest;
    size_t bytes;
  };
  std::vector<Edge> edges = {{-128, 127, 1}, {-32'768, 32'767, 2}, {-8'388'608, 8'388'607, 3}};
  constexpr int64_t k32 = int64_t{1} << 31;
  edges.push_back({-k32, k32 - 1, 4});
  if (sizeof(TypeParam) == 8) {
    edges.push_back({std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), 8});
    EXPECT_EQ(this->width_of({static_cast<TypeParam>(k32)}), 8u);
    EXPECT_EQ(this->width_of({static_cast<TypeParam>(-k32 - 1)}), 8u);
  }
  EXPECT_EQ(this->width_of({0}), 1u);
  for (const Edge& edge : edges) {
    for (int64_t end : {edge.least, edge.largest}) {
      const auto value = static_cast<TypeParam>(end);
      EXPECT_EQ(this->width_of({0, value, 1}), edge.bytes) << end;
      this->expect_same({0, value, 1, -1, 127, -128});
      if (edge.bytes < sizeof(TypeParam)) {
        const auto beyond = static_cast<TypeParam>(end < 0 ? end - 1 : end + 1);
        EXPECT_EQ(this->width_of({beyond}), edge.bytes == 4 ? 8 : edge.bytes + 1) << beyond;
        this->expect_same({beyond, 3});
      }
    }
  }
}

TYPED_TEST(PackedSums, ComeBackWhateverTheirNumberAndSize) {
  std::mt19937_64 random(4);
  for (size_t size : {0, 1, 2, 3, 15, 16, 17, 31, 64, 1000, 4099})
    for (int bits :
         {0, 7, 8, 15, 16, 20, 23, 24, 30, static_cast<int>(8 * sizeof(TypeParam)) - 1}) {
      std::vector<TypeParam> sums(size);
      for (TypeParam& z : sums)
        z = static_cast<TypeParam>(random()) >> (8 * sizeof(TypeParam) - 1 - bits);
      SCOPED_TRACE(testing::Message() << size << " of " << bits << " bits");
      this->expect_same(sums);
    }
}

TYPED_TEST(PackedSums, WrongSizesAreRefused) {
  const std::vector<TypeParam> sums = {1, 300, 70'000};
  std::vector<std::byte> bytes = this->packed(sums);
  std::vector<TypeParam> out(3), more(4);
  EXPECT_THROW(unpack_sums<TypeParam>(bytes, more), Error);
  EXPECT_THROW(add_packed_sums<TypeParam>(std::span(bytes).first(bytes.size() - 1), out), Error);
  bytes.resize(most_packed_bytes<TypeParam>(3));
  EXPECT_THROW(pack_sums(std::span(sums), std::span(bytes).first(bytes.size() - 1)), Error);
  EXPECT_THROW(unpack_sums<TypeParam>(std::span<std::byte>(), out), Error);
  for (int width : {0, 5, 6, 7, 9, 255}) {
    bytes.assign(10'000, static_cast<std::byte>(width));
    EXPECT_THROW(unpack_sums<TypeParam>(bytes, out), Error) << width;
  }
}

}  // namespace
}  // namespace eggroll
