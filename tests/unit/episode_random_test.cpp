#include "worker/control/episode_random.hpp"

#include <gtest/gtest.h>

namespace eggroll {
namespace {

// What tests/gymnasium/episode_random.py gives for the same seed, so that its episodes are ours.
TEST(EpisodeRandom, GivesTheNumbersOfItsTwinInPython) {
  EpisodeRandom random((uint64_t{7} << 32) + 5);
  for (const double number : {0x1.d9a0355920846p-1, 0x1.2d6a9104de691p-1, 0x1.3f5a8fdf9c364p-1,
                              0x1.507e0aea7444ep-2, 0x1.be2e29a937a58p-2})
    EXPECT_EQ(random.uniform(), number);
  for (const double number : {0x1.54d250ab49289p-3, 0x1.de6a65da84dabp-7, -0x1.371a4a2a8aff2p-3,
                              -0x1.fd95d5a035075p-1, 0x1.eea760b75868bp-1})
    EXPECT_EQ(random.normal(), number);
  EpisodeRandom of_one(1);
  uint64_t digest = 0;
  for (int i = 0; i < 20000; ++i) digest = digest * 31 + std::bit_cast<uint64_t>(of_one.normal());
  EXPECT_EQ(digest, 0x93881689ee34b34c);
}

TEST(EpisodeRandom, HasTheMomentsOfItsLaws) {
  EpisodeRandom random(4);
  constexpr int kNumbers = 1 << 20;
  double uniform = 0, normal = 0, square = 0, fourth = 0;
  for (int i = 0; i < kNumbers; ++i) {
    const double u = random.uniform(-1, 3), n = random.normal();
    EXPECT_TRUE(u >= -1 && u < 3);
    uniform += u / kNumbers;
    normal += n / kNumbers;
    square += n * n / kNumbers;
    fourth += n * n * n * n / kNumbers;
  }
  // Five deviations: 2^-10 times those of one number (4 / sqrt 12, 1, sqrt 2, sqrt 96).
  EXPECT_NEAR(uniform, 1, 5 * 0x1p-10 * 1.155);
  EXPECT_NEAR(normal, 0, 5 * 0x1p-10);
  EXPECT_NEAR(square, 1, 5 * 0x1p-10 * 1.415);
  EXPECT_NEAR(fourth, 3, 5 * 0x1p-10 * 9.798);
}

}  // namespace
}  // namespace eggroll
