#include "coordinator/stop_signal.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <initializer_list>

namespace eggroll {
namespace {

using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t stop_flag = 0;
volatile std::sig_atomic_t checkpoint_flag = 0;

void on_stop(int signal) {
  stop_flag = 1;
  std::signal(signal, SIG_DFL);
}

// Open MPI's mpirun ends a job (Ctrl-C, SIGTERM, SIGHUP) by sending its ranks SIGCONT, then SIGTERM,
// then SIGKILL, with odls_base_sigkill_timeout between them. The first of the three gives the most
// time, but alone it continues a job that mpirun has suspended. A SIGCONT from anybody else means no
// more than that in any case.
constexpr std::chrono::seconds kTermAfter{1};        // Open MPI's default
constexpr std::chrono::milliseconds kTermLate{500};  // on a busy machine
Clock::duration term_after = kTermAfter;
std::atomic<Clock::rep> end_may_follow_until{0};
static_assert(std::atomic<Clock::rep>::is_always_lock_free);

void on_continue(int, siginfo_t* info, void*) {
  if (info->si_code == SI_USER && info->si_pid == getppid())
    end_may_follow_until = (Clock::now() + term_after + kTermLate).time_since_epoch().count();
}

// mpirun and the scheduler may both pass it on.
void on_stop_request(int) { stop_flag = 1; }

void on_checkpoint(int) { checkpoint_flag = 1; }

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

void install_request_handlers() {
  handle(SIGUSR1, on_checkpoint);
  handle(SIGUSR2, on_stop_request);
}

void install_stop_handlers() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    if (!is_left_ignored(signal)) handle(signal, on_stop);
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return;
  if (const char* seconds = std::getenv("OMPI_MCA_odls_base_sigkill_timeout"))
    term_after = std::chrono::seconds(std::clamp(std::atoi(seconds), 0, 3600));
  struct sigaction action = {};
  action.sa_sigaction = on_continue;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  sigaction(SIGCONT, &action, nullptr);
}

bool is_left_ignored(int signal) {
  if (signal != SIGHUP && signal != SIGINT) return false;
  struct sigaction present = {};
  sigaction(signal, nullptr, &present);
  return present.sa_handler == SIG_IGN;
}

bool end_may_follow() {
  return !stop_requested() && Clock::now().time_since_epoch().count() < end_may_follow_until;
}

bool stop_requested() { return stop_flag != 0; }

bool take_checkpoint_request() {
  const bool requested = checkpoint_flag != 0;
  checkpoint_flag = 0;
  return requested;
}

}  // namespace eggroll
