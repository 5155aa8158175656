#include "common/files/sandbox.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <new>

#include "common/check.hpp"

namespace eggroll {
namespace {

// The first byte that the child sends. A child that crashes sends none.
constexpr char kDone = 'd', kRefused = 'r', kNoMemory = 'm';

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kHasShadowMemory = true;
#elif defined(__has_feature)
constexpr bool kHasShadowMemory = __has_feature(address_sanitizer);
#else
constexpr bool kHasShadowMemory = false;
#endif

// Address space of this process; 0 where the system does not say.
uint64_t address_space_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  statm >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void limit_soft(int resource, uint64_t value) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(value, limit.rlim_max);
  setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

void prepare_child(const SandboxLimits& limits) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // MPI libraries print a stack trace at these, and the C library says why it aborts.
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGTERM, SIGINT, SIGHUP})
    std::signal(signal, SIG_DFL);
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere >= 0) {
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
  }
  limit_soft(RLIMIT_CORE, 0);
  rlimit used{};
  used.rlim_cur = limits.compute_s;  // a child begins with no time used
  used.rlim_max = limits.compute_s + 1;
  setrlimit(RLIMIT_CPU, &used);
  const uint64_t now = address_space_bytes();
  // A sanitizer's shadow alone is larger than any limit.
  if (!kHasShadowMemory && now > 0) limit_soft(RLIMIT_AS, now + limits.memory_bytes);
}

void send(int descriptor, char first, const char* text) {
  const std::array<std::pair<const char*, size_t>, 2> parts = {
      {{&first, 1}, {text, std::strlen(text)}}};
  for (auto [data, left] : parts)
    while (left > 0) {
      const ssize_t count = write(descriptor, data, left);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      data += count;
      left -= static_cast<size_t>(count);
    }
}

[[noreturn]] void run_child(const std::function<void()>& work, const SandboxLimits& limits,
                            int answer) {
  prepare_child(limits);
  try {
    work();
    send(answer, kDone, "");
  } catch (const std::bad_alloc&) {
    send(answer, kNoMemory, "");
  } catch (const std::exception& error) {
    send(answer, kRefused, error.what());
  }
  _exit(0);
}

std::string read_all(int descriptor) {
  std::string all;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t count = read(descriptor, part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return all;
    all.append(part.data(), static_cast<size_t>(count));
  }
}

}  // namespace

SandboxResult run_in_sandbox(const std::function<void()>& work, const SandboxLimits& limits) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw Error(std::string("cannot make a pipe: ") + std::strerror(errno));
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    run_child(work, limits, ends[1]);
  }
  const int error = errno;
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    throw Error(std::string("cannot start a child process: ") + std::strerror(error));
  }
  const std::string answer = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  pid_t ended;
  do ended = waitpid(child, &status, 0);
  while (ended < 0 && errno == EINTR);

  if (answer.starts_with(kDone)) return {SandboxEnd::done, ""};
  if (answer.starts_with(kRefused)) return {SandboxEnd::refused, answer.substr(1)};
  if (answer.starts_with(kNoMemory)) return {SandboxEnd::died, "it takes too much memory"};
  if (ended == child && WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGXCPU) return {SandboxEnd::died, "it takes too long"};
    return {SandboxEnd::died, strsignal(signal)};
  }
  return {SandboxEnd::died, "it ended without a word"};
}

void allow_memory_in_sandbox(uint64_t bytes) {
  const uint64_t now = address_space_bytes();
  rlimit limit{};
  if (kHasShadowMemory || now == 0 || getrlimit(RLIMIT_AS, &limit) != 0) return;
  limit_soft(RLIMIT_AS, std::max<uint64_t>(limit.rlim_cur, now + bytes));
}

}  // namespace eggroll
