// The fused operation of machines that have none, against the maths library's.
#include "kernels/cpu/fused.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>

namespace eggroll::cpu {
namespace {

TEST(Fused, IsThatOfTheMathsLibraryBitForBit) {
  std::mt19937_64 random(10);
  const auto float_of = [](uint64_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits));
  };
  size_t cancelled = 0, subnormal = 0;
  for (int k = 0; k < 4000000; ++k) {
    const uint64_t u = random(), v = random();
    float a = float_of(u), b = float_of(u >> 32), c = float_of(v);
    if (k % 4 == 2) {  // a hair beside the middle of two floats, which a double does not see
      const float j = std::ldexp(static_cast<float>(1 + v % 7), -23);
      a = 1 + j;
      b = std::ldexp(1 - j, -24);  // a b = 2^-24 (1 - j^2)
      c = float_of((u & 0x807fffff) | 127u << 23);
    } else if (k % 2 == 1) {  // close to each other, so that much is lost
      a = float_of((u & 0x807fffff) | (1 + v % 253) << 23);
      b = float_of((u >> 32 & 0x807fffff) | 127u << 23);
      c = float_of(std::bit_cast<uint32_t>(-a * b) + (v >> 8) % 5 - 2);
      if (v >> 63 != 0) c = std::ldexp(c, static_cast<int>(v >> 16 & 63) - 32);
    }
    const float expected = std::fma(a, b, c), ours = fused_in_double(a, b, c);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(ours)) << a << " * " << b << " + " << c;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(ours), std::bit_cast<uint32_t>(expected))
        << a << " * " << b << " + " << c;
    cancelled += std::abs(expected) < 0x1p-20f * std::abs(c);
    subnormal += expected != 0 && std::abs(expected) < 0x1p-126f;
  }
  EXPECT_GT(cancelled, 10000u);
  EXPECT_GT(subnormal, 1000u);
}

}  // namespace
}  // namespace eggroll::cpu
