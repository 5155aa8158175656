// Commands as a person types them: started in a shell of their own process group, ended when they
// take too long, their output kept.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

namespace eggroll::test {

struct CommandResult {
  int exit_code = -1;  // of the shell: 128 + signal for a program that a signal ended
  std::string output;  // standard output and standard error as they came
  double seconds = 0;
  bool timed_out = false;  // then it was killed
};

// A command that runs while the test goes on. Still running at the end of its life, it is killed.
class RunningCommand {
 public:
  explicit RunningCommand(const std::string& command);
  ~RunningCommand();
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;

  // The process started: the shell, or with `exec program` the program.
  pid_t pid() const { return pid_; }
  void signal(int number) const;
  bool is_running();
  // Waits until its output so far holds this; false when it has not in that time, or has ended.
  bool prints(const std::string& text, double timeout_s = 60);
  CommandResult wait(double timeout_s);

 private:
  // Takes what has been written so far, waits for more at most this long.
  void read_output(int milliseconds);
  void kill_all() const;

  pid_t pid_ = -1;
  int pipe_ = -1;
  bool has_ended_ = false;
  CommandResult result_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

CommandResult run_command(const std::string& command, double timeout_s = 60);

// One word of a shell command, whatever it holds.
std::string quoted(const std::string& word);

}  // namespace eggroll::test
