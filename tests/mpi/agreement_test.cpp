// What ranks agree on before they start, and whose failure is told, on 1, 2, 3 and 4 ranks.
#include "common/messages/agreement.hpp"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"
#include "tests/support/mpi_world.hpp"

namespace eggroll {
namespace {

using test::mpi_world;

// The error that agree() throws on this rank, "" without one; checked to be the same on all ranks.
std::string disagreement(const std::vector<Fact>& facts) {
  Collectives& group = mpi_world();
  std::string message;
  try {
    agree(group, facts);
  } catch (const ConfigError& error) {
    message = error.what();
  }
  const uint64_t mine = XXH3_64bits(message.data(), message.size());
  std::vector<uint64_t> all(group.size());
  group.all_gather(bytes_of(mine), bytes_of(all));
  EXPECT_EQ(std::ranges::count(all, mine), group.size()) << message;
  return message;
}

TEST(Agreement, EqualFactsPass) {
  EXPECT_EQ(disagreement({}), "");
  EXPECT_EQ(disagreement({{"build", "abc"}, {"config", std::string(100'000, 'x')}}), "");
}

TEST(Agreement, AMismatchOnTheLastRankNamesRankHostAndBothValues) {
  const int last = mpi_world().size() - 1;
  const std::string corpus = mpi_world().rank() == last ? "0b0b" : "a1a1";
  const std::string message =
      disagreement({{"build", "abc"}, {"corpus", corpus}, {"layout", corpus}});
  if (last == 0) {
    EXPECT_EQ(message, "");
    return;
  }
  EXPECT_EQ(message, "the ranks do not agree on corpus: rank " + std::to_string(last) + " on " +
                         host_name() + " has \"0b0b\", rank 0 has \"a1a1\"");
}

TEST(Agreement, TheFirstDifferingRankIsNamed) {
  if (mpi_world().size() < 3) GTEST_SKIP() << "needs 3 ranks";
  const std::string message =
      disagreement({{"seed", std::to_string(std::min(mpi_world().rank(), 1))}});
  EXPECT_NE(message.find("rank 1 on "), std::string::npos) << message;
}

TEST(Agreement, OfALongTextTheLineThatDiffersIsShown) {
  if (mpi_world().size() == 1) return;
  const bool is_odd = mpi_world().rank() == 1;
  std::string text = std::string(5'000, '#') + "\nseed = ";
  text += is_odd ? "12\n" : "1\n";
  std::string message = disagreement({{"config", text + "layers = 6\n"}});
  EXPECT_NE(message.find("has \"seed = 12\", rank 0 has \"seed = 1\""), std::string::npos)
      << message;

  text = std::string(500, 'a') + (is_odd ? 'x' : 'y') + std::string(500, 'b');
  message = disagreement({{"config", text}});
  const std::string a(30, 'a');
  const std::string b(29, 'b');
  EXPECT_NE(message.find("\"..." + a + "x" + b + "...\", rank 0 has \"..." + a + "y" + b + "...\""),
            std::string::npos)
      << message;
}

TEST(Agreement, ListsOfDifferentFactsDoNotAgree) {
  if (mpi_world().size() == 1) return;
  const bool is_last = mpi_world().rank() == mpi_world().size() - 1;
  std::vector<Fact> facts = {{"build", "abc"}, {"gpu", "none"}};
  if (is_last) facts.pop_back();
  EXPECT_NE(disagreement(facts).find("agree on gpu: rank"), std::string::npos);
  facts = {{is_last ? "build" : "config", "abc"}};
  EXPECT_NE(disagreement(facts).find("has \"build\", rank 0 has \"config\""), std::string::npos);
  // The same characters, divided between name and value in another way.
  facts = {is_last ? Fact{"ab", "c"} : Fact{"a", "bc"}};
  EXPECT_NE(disagreement(facts), "");
}

TEST(FirstFailure, IsNothingWhenAllIsWell) {
  EXPECT_FALSE(first_failure(mpi_world(), "", 0).has_value());
}

TEST(FirstFailure, IsTheOneOfTheLowestRank) {
  Collectives& group = mpi_world();
  const int lowest = group.size() / 2;
  const bool is_well = group.rank() < lowest;
  const std::string mine = "no file on rank " + std::to_string(group.rank());
  const auto failure = first_failure(group, is_well ? "" : mine, is_well ? 0 : 2 + group.rank());
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->rank, lowest);
  EXPECT_EQ(failure->host, host_name());
  EXPECT_EQ(failure->message, "no file on rank " + std::to_string(lowest));
  EXPECT_EQ(failure->code, 2 + lowest);
}

TEST(FirstFailure, CutsLongMessagesAndNeverHasCodeZero) {
  const auto failure = first_failure(mpi_world(), std::string(5'000, 'm'), 0);
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->rank, 0);
  EXPECT_EQ(failure->message, std::string(kFailureBytes, 'm'));
  EXPECT_EQ(failure->code, 1);
}

}  // namespace
}  // namespace eggroll
