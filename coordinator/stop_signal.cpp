#include "coordinator/stop_signal.hpp"

#include <csignal>

namespace eggroll {
namespace {

volatile std::sig_atomic_t stop_flag = 0;
volatile std::sig_atomic_t checkpoint_flag = 0;

void on_stop(int signal) {
  stop_flag = 1;
  std::signal(signal, SIG_DFL);
}

void on_checkpoint(int) { checkpoint_flag = 1; }

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

void install_signal_handlers() {
  handle(SIGINT, on_stop);
  handle(SIGTERM, on_stop);
  handle(SIGUSR1, on_checkpoint);
}

bool stop_requested() { return stop_flag != 0; }

bool take_checkpoint_request() {
  const bool requested = checkpoint_flag != 0;
  checkpoint_flag = 0;
  return requested;
}

}  // namespace eggroll
