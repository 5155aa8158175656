// Five values a byte.
#include "common/messages/ternary.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "common/check.hpp"

namespace eggroll {
namespace {

std::vector<std::byte> packed(const std::vector<int8_t>& values) {
  std::vector<std::byte> bytes(ternary_bytes(values.size()));
  pack_ternary(values, bytes);
  return bytes;
}

std::vector<int8_t> unpacked(const std::vector<std::byte>& bytes, size_t values) {
  std::vector<int8_t> result(values, 77);
  unpack_ternary(bytes, result);
  return result;
}

TEST(Ternary, AllValuesOfAllShortLengthsComeBack) {
  size_t combinations = 1;
  for (size_t length = 0; length <= 12; ++length, combinations *= 3)
    for (size_t c = 0; c < combinations; ++c) {
      std::vector<int8_t> values(length);
      size_t rest = c;
      for (int8_t& v : values) {
        v = static_cast<int8_t>(static_cast<int>(rest % 3) - 1);
        rest /= 3;
      }
      ASSERT_EQ(unpacked(packed(values), length), values);
    }
}

TEST(Ternary, LongRandomListsComeBack) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 300; ++i) {
    std::vector<int8_t> values(random() % 5000);
    for (int8_t& v : values) v = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
    ASSERT_EQ(unpacked(packed(values), values.size()), values);
  }
}

TEST(Ternary, AValueCostsOneAndThreeFifthsBits) {
  EXPECT_EQ(ternary_bytes(0), 0u);
  EXPECT_EQ(ternary_bytes(1), 1u);
  EXPECT_EQ(ternary_bytes(5), 1u);
  EXPECT_EQ(ternary_bytes(6), 2u);
  EXPECT_EQ(8 * ternary_bytes(1000000), 1600000u);
}

TEST(Ternary, DifferentValuesAreDifferentBytesBelow243) {
  std::set<int> bytes;
  for (int c = 0; c < 243; ++c) {
    std::vector<int8_t> values;
    for (int k = 0, rest = c; k < 5; ++k, rest /= 3)
      values.push_back(static_cast<int8_t>(rest % 3 - 1));
    bytes.insert(static_cast<int>(packed(values)[0]));
  }
  EXPECT_EQ(bytes.size(), 243u);
  EXPECT_EQ(*bytes.rbegin(), 242);
}

TEST(Ternary, AByteThatNoFiveValuesMakeThrows) {
  for (int byte = 243; byte < 256; ++byte)
    for (size_t values : {1, 3, 5}) {
      EXPECT_THROW(unpacked({static_cast<std::byte>(byte)}, values), Error) << byte;
      std::vector<std::byte> second{std::byte{0}, static_cast<std::byte>(byte)};
      EXPECT_THROW(unpacked(second, 5 + values), Error) << byte;
    }
}

TEST(Ternary, ALastByteThatHoldsMoreThanItsValuesThrows) {
  int most = 3;
  for (size_t values = 1; values < 5; ++values, most *= 3) {
    EXPECT_NO_THROW(unpacked({static_cast<std::byte>(most - 1)}, values));
    for (int byte = most; byte < 243; ++byte)
      EXPECT_THROW(unpacked({static_cast<std::byte>(byte)}, values), Error) << byte;
  }
}

TEST(Ternary, RoomOfAnotherSizeThrows) {
  const std::vector<int8_t> values(6, 1);
  std::vector<std::byte> room(1);
  EXPECT_THROW(pack_ternary(values, room), Error);
  room.resize(3);
  EXPECT_THROW(pack_ternary(values, room), Error);
  EXPECT_THROW(unpacked(room, 6), Error);
}

}  // namespace
}  // namespace eggroll
