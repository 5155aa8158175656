// Signals as flags. SIGINT, SIGTERM and SIGHUP ask for a stop after the current generation (the
// second one ends the process at once), and so does SIGUSR2, as often as it comes; SIGUSR1 asks for a
// checkpoint. SIGHUP and SIGINT that are ignored when the program starts stay ignored: so nohup and a
// script's background jobs are meant.
#pragma once

namespace eggroll {

// Before MPI starts: SIGUSR1 and SIGUSR2, which a scheduler or a supervisor may send at any time,
// are never the end of the process.
void install_request_handlers();
// Before the first generation: the others. Until then there is nothing to save, and they end it.
void install_stop_handlers();
bool is_left_ignored(int signal);  // one of these two
bool stop_requested();
// mpirun has given a sign that precedes its SIGTERM, and that a job which it suspended goes on: until the
// SIGTERM has come, or its time has passed.
bool end_may_follow();
bool take_checkpoint_request();  // true once for each request

}  // namespace eggroll
