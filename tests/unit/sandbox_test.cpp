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

constexpr SandboxLimits kLimits{.memory_bytes = 64 << 20, .compute_s = 20};

TEST(Sandbox, WorkThatReturnsIsDoneAndChangesNothingHere) {
  int value = 1;
  const SandboxResult result = run_in_sandbox([&] { value = 2; }, kLimits);
  EXPECT_EQ(result.end, SandboxEnd::done);
  EXPECT_EQ(value, 1);
}

TEST(Sandbox, AnErrorComesBackWithItsWords) {
  const std::string words(200000, 'w');  // more than a pipe holds
  const SandboxResult result = run_in_sandbox([&] { throw Error(words); }, kLimits);
  EXPECT_EQ(result.end, SandboxEnd::refused);
  EXPECT_EQ(result.what, words);
}

TEST(Sandbox, ACrashIsNamed) {
  for (int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL, SIGKILL}) {
    const SandboxResult result = run_in_sandbox([&] { std::raise(signal); }, kLimits);
    EXPECT_EQ(result.end, SandboxEnd::died);
    EXPECT_EQ(result.what, strsignal(signal));
  }
}

TEST(Sandbox, AnEndWithoutAWordIsNoSuccess) {
  const SandboxResult result = run_in_sandbox([] { std::_Exit(0); }, kLimits);
  EXPECT_EQ(result.end, SandboxEnd::died);
  EXPECT_EQ(result.what, "it ended without a word");
}

TEST(Sandbox, WorkWithoutEndIsEnded) {
  const SandboxResult result = run_in_sandbox(
      [] {
        volatile bool ends = false;
        while (!ends) {
        }
      },
      {.memory_bytes = 64 << 20, .compute_s = 1});
  EXPECT_EQ(result.end, SandboxEnd::died);
  EXPECT_EQ(result.what, "it takes too long");
}

TEST(Sandbox, MemoryEndsAtTheLimitAndCanBeAllowed) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's own memory is beyond any limit";
#endif
  const auto take = [] { std::vector<char> memory(size_t{256} << 20, 'x'); };
  const SandboxResult result = run_in_sandbox(take, kLimits);
  EXPECT_EQ(result.end, SandboxEnd::died);
  EXPECT_EQ(result.what, "it takes too much memory");
  const SandboxResult allowed = run_in_sandbox(
      [&] {
        allow_memory_in_sandbox(size_t{320} << 20);
        take();
      },
      kLimits);
  EXPECT_EQ(allowed.end, SandboxEnd::done);
}

TEST(Sandbox, TheLimitsAreTheChildsAlone) {
  rlimit before{}, after{};
  getrlimit(RLIMIT_AS, &before);
  run_in_sandbox([] {}, kLimits);
  getrlimit(RLIMIT_AS, &after);
  EXPECT_EQ(before.rlim_cur, after.rlim_cur);
}

}  // namespace
}  // namespace eggroll
