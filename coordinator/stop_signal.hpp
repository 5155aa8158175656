// Signals as flags. SIGINT, SIGTERM and SIGHUP ask for a stop after the current generation (the
// second one ends the process at once), and so does the first sign that mpirun is ending the job;
// SIGUSR1 asks for a checkpoint.
#pragma once

namespace eggroll {

void install_signal_handlers();
bool stop_requested();
bool take_checkpoint_request();  // true once for each request

}  // namespace eggroll
