// Of a cluster cut in two at most one part goes on; processes that have ended hold nobody back.
#include "common/messages/view.hpp"

#include <gtest/gtest.h>

#include <string>

namespace eggroll {
namespace {

// One letter a rank: h here, s silent, e ended for certain.
std::vector<Standing> standings(const std::string& letters) {
  std::vector<Standing> all;
  for (const char c : letters) all.push_back({.is_lost = c != 'h', .has_ended = c == 'e'});
  return all;
}

TEST(View, GoesOnWithMoreThanHalf) {
  EXPECT_TRUE(may_go_on(standings("hhh")));
  EXPECT_TRUE(may_go_on(standings("hhs")));
  EXPECT_TRUE(may_go_on(standings("shh")));
  EXPECT_FALSE(may_go_on(standings("hss")));
  EXPECT_FALSE(may_go_on(standings("ssh")));
  EXPECT_TRUE(may_go_on(standings("hshsh")));
  EXPECT_FALSE(may_go_on(standings("hsshs")));
}

TEST(View, OfTwoHalvesTheOneWithTheLowestRankGoesOn) {
  EXPECT_TRUE(may_go_on(standings("hs")));
  EXPECT_FALSE(may_go_on(standings("sh")));
  EXPECT_TRUE(may_go_on(standings("hssh")));
  EXPECT_FALSE(may_go_on(standings("shhs")));
  // The lowest of those that may be alive.
  EXPECT_TRUE(may_go_on(standings("ehs")));
  EXPECT_FALSE(may_go_on(standings("esh")));
}

TEST(View, ProcessesThatHaveEndedDoNotCount) {
  EXPECT_TRUE(may_go_on(standings("eeeh")));
  EXPECT_TRUE(may_go_on(standings("eehs")));
  EXPECT_FALSE(may_go_on(standings("eessh")));
  EXPECT_EQ(not_ended(standings("eessh")), 3u);
}

// Whatever is cut from whatever, the two sides never both go on: what one side sees as silent is
// the other's own.
TEST(View, NoCutLetsBothSidesGoOn) {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (int ended = 0; ended < 1 << ranks; ++ended)
      for (int side = 0; side < 1 << ranks; ++side) {
        std::vector<Standing> one, other;
        for (int r = 0; r < ranks; ++r) {
          const bool has_ended = (ended >> r & 1) != 0, is_in_one = (side >> r & 1) != 0;
          one.push_back({.is_lost = has_ended || !is_in_one, .has_ended = has_ended});
          other.push_back({.is_lost = has_ended || is_in_one, .has_ended = has_ended});
        }
        ASSERT_FALSE(may_go_on(one) && may_go_on(other) && not_ended(one) > 0)
            << ranks << ' ' << ended << ' ' << side;
      }
}

}  // namespace
}  // namespace eggroll
