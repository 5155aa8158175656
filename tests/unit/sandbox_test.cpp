// Work that crashes, hangs or devours memory takes down its child process alone.
#include "common/files/sandbox.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr TrialLimits kLimits{.memory_bytes = 64 << 20, .compute_s = 20};

TEST(Trial, WorkThatReturnsIsDoneAndChangesNothingHere) {
  int value = 1;
  const Trial trial = try_in_child([&] { value = 2; }, kLimits);
  EXPECT_EQ(trial.end, TrialEnd::done);
  EXPECT_EQ(value, 1);
}

TEST(Trial, AnErrorComesBackWithItsWords) {
  const std::string words(200000, 'w');  // more than a pipe holds
  const Trial trial = try_in_child([&] { throw Error(words); }, kLimits);
  EXPECT_EQ(trial.end, TrialEnd::refused);
  EXPECT_EQ(trial.what, words);
}

TEST(Trial, ACrashIsNamed) {
  for (int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL, SIGKILL}) {
    const Trial trial = try_in_child([&] { std::raise(signal); }, kLimits);
    EXPECT_EQ(trial.end, TrialEnd::died);
    EXPECT_EQ(trial.what, strsignal(signal));
  }
}

TEST(Trial, AnEndWithoutAWordIsNoSuccess) {
  const Trial trial = try_in_child([] { std::_Exit(0); }, kLimits);
  EXPECT_EQ(trial.end, TrialEnd::died);
  EXPECT_EQ(trial.what, "it ended without a word");
}

TEST(Trial, WorkWithoutEndIsEnded) {
  const Trial trial = try_in_child(
      [] {
        volatile bool ends = false;
        while (!ends) {
        }
      },
      {.memory_bytes = 64 << 20, .compute_s = 1});
  EXPECT_EQ(trial.end, TrialEnd::died);
  EXPECT_EQ(trial.what, "it takes too long");
}

TEST(Trial, MemoryEndsAtTheLimitAndCanBeAllowed) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's own memory is beyond any limit";
#endif
  const auto take = [] { std::vector<char> memory(size_t{256} << 20, 'x'); };
  const Trial trial = try_in_child(take, kLimits);
  EXPECT_EQ(trial.end, TrialEnd::died);
  EXPECT_EQ(trial.what, "it takes too much memory");
  const Trial allowed = try_in_child(
      [&] {
        allow_memory_in_trial(size_t{320} << 20);
        take();
      },
      kLimits);
  EXPECT_EQ(allowed.end, TrialEnd::done);
}

TEST(Trial, TheLimitsAreTheChildsAlone) {
  rlimit before{}, after{};
  getrlimit(RLIMIT_AS, &before);
  try_in_child([] {}, kLimits);
  getrlimit(RLIMIT_AS, &after);
  EXPECT_EQ(before.rlim_cur, after.rlim_cur);
}

}  // namespace
}  // namespace eggroll
