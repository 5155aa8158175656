// MPI from its start to its end, and how a rank waits.
#include <fmt/format.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <thread>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"
#include "common/messages/mpi_calls.hpp"
#include "common/output.hpp"
#include "common/start_thread.hpp"

namespace eggroll {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

// A peer that is already there answers within the yields, which leave the core to any other rank that
// has work. After that a sleep is a sixteenth of the time waited so far: a wait ends about that much
// late, half a millisecond at most, and a long one costs about three hundredths of a core.
constexpr microseconds kYieldFor{100};
constexpr int kSleepShare = 16;
constexpr microseconds kShortestSleep{20};
constexpr microseconds kLongestSleep{500};
// The kernel adds up to this much to a sleep; its default of 50 us would be most of a short one.
constexpr unsigned long kTimerSlackNs = 1000;

constexpr std::chrono::seconds kFinalizeFor{3};  // where ranks may be lost

std::string where() {
  int rank = 0;
  int size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return fmt::format("rank {} of {} on {}", rank, size, host_name());
}

[[noreturn]] void end_every_rank(int code) {
  std::fflush(nullptr);
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size == 1) {
    MPI_Finalize();  // nobody to end: no banner, and the launcher's temporary files go
  } else {
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  std::_Exit(code);
}

// After a while, whatever this process waits for then.
void end_in_any_case(int code) noexcept {
  try {
    start_thread([code] {
      std::this_thread::sleep_for(kFinalizeFor);
      std::fflush(nullptr);
      std::_Exit(code);
    }).detach();
  } catch (const std::exception&) {  // no room for a thread: only the wait may be longer
  }
}

}  // namespace

void pause_after(Clock::duration waited) {
  if (waited < kYieldFor) {
    sched_yield();
  } else {
    std::this_thread::sleep_for(
        std::clamp<Clock::duration>(waited / kSleepShare, kShortestSleep, kLongestSleep));
  }
}

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw Error(fmt::format("{} failed: {} ({})", call, text.data(), where()));
}

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  check_mpi(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  const std::string all(text.data());
  return all.substr(0, all.find_first_of(",\n"));  // what follows is how it was built
}

void Collectives::wait(Pending& pending) {
  if (pending.test()) return;
  const Clock::time_point start = Clock::now();
  while (!pending.test()) pause_after(Clock::now() - start);
}

MpiSession::MpiSession() {
  int is_initialized = 0;
  MPI_Initialized(&is_initialized);
  require(!is_initialized, "one MPI session a process");
  std::signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, kTimerSlackNs, 0, 0, 0);
  int provided = MPI_THREAD_SINGLE;
  const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (code != MPI_SUCCESS)
    throw Error(fmt::format("MPI_Init_thread failed with code {} on {}", code, host_name()));
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (provided < MPI_THREAD_FUNNELED)
    throw Error("this MPI library offers no thread level of MPI_THREAD_FUNNELED (" + where() + ")");
}

MpiSession::~MpiSession() {
  const bool may_lack_ranks = between_ranks_ != nullptr;
  between_ranks_.reset();
  const char* broken = nullptr;
  if (std::uncaught_exceptions() > 0) {
    broken = "an error left the scope of the MPI session";
  } else if (Communicator::alive > 0) {
    broken = "internal promise broken: groups are destroyed before the MPI session";
  }
  if (broken != nullptr) {
    complain(fmt::format("{}: {}", where(), broken));
    end_every_rank(1);
  }
  // Whether the launcher waits for a lost rank here is a matter of chance, for a stopped one it does.
  if (may_lack_ranks) end_in_any_case(exit_code_);
  MPI_Finalize();
}

std::unique_ptr<Collectives> MpiSession::world(size_t max_message,
                                               const NodeOfRank& node_of) const {
  require(max_message > 0 && max_message <= std::numeric_limits<int>::max(),
          "a message length that MPI can count");
  MPI_Comm duplicate = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &duplicate), "MPI_Comm_dup");
  return make_mpi_collectives(duplicate, max_message, node_of);
}

std::unique_ptr<Collectives> MpiSession::group_of(const Membership& membership,
                                                  size_t max_message) {
  if (!between_ranks_) {
    MPI_Comm duplicate = MPI_COMM_NULL;
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &duplicate), "MPI_Comm_dup");
    between_ranks_ = std::make_shared<Communicator>(duplicate);
    check_mpi(MPI_Comm_set_errhandler(duplicate, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  return make_point_to_point_collectives(between_ranks_, membership, max_message);
}

int MpiSession::world_rank() const {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

void MpiSession::abort(int code) const { end_every_rank(code); }

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown host";
  return name.data();
}

}  // namespace eggroll
