#include "tests/support/run_command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "common/check.hpp"

namespace eggroll::test {

RunningCommand::RunningCommand(const std::string& command) {
  int ends[2];
  require(pipe2(ends, O_CLOEXEC) == 0, "a pipe for a command's output");
  pid_ = fork();
  require(pid_ >= 0, "a process for a command");
  if (pid_ == 0) {
    setpgid(0, 0);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  setpgid(pid_, pid_);  // here too, so that it holds before either goes on
  close(ends[1]);
  pipe_ = ends[0];
}

RunningCommand::~RunningCommand() {
  if (is_running()) {
    kill_all();
    waitpid(pid_, nullptr, 0);
  }
  close(pipe_);
}

void RunningCommand::signal(int number) const {
  if (!has_ended_) kill(pid_, number);
}

void RunningCommand::kill_all() const { kill(-pid_, SIGKILL); }

bool RunningCommand::is_running() {
  if (has_ended_) return false;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) == 0) return true;
  has_ended_ = true;
  result_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result_.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return false;
}

void RunningCommand::read_output(int milliseconds) {
  pollfd ready{pipe_, POLLIN, 0};
  if (poll(&ready, 1, milliseconds) <= 0) return;
  std::array<char, 65536> bytes;
  const ssize_t count = read(pipe_, bytes.data(), bytes.size());
  if (count > 0) result_.output.append(bytes.data(), static_cast<size_t>(count));
  if (count == 0) poll(nullptr, 0, milliseconds);  // closed; the process may go on without it
}

bool RunningCommand::prints(const std::string& text, double timeout_s) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  for (;;) {
    const bool is_last_look = !is_running() || std::chrono::steady_clock::now() > limit;
    read_output(5);
    if (result_.output.find(text) != std::string::npos) return true;
    if (is_last_look) return false;
  }
}

CommandResult RunningCommand::wait(double timeout_s) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
  while (is_running()) {
    read_output(5);
    if (std::chrono::steady_clock::now() < limit || result_.timed_out) continue;
    result_.timed_out = true;
    kill_all();
  }
  // What is left in the pipe. A process that outlives the command may hold its other end.
  for (size_t before = result_.output.size() + 1; before != result_.output.size();) {
    before = result_.output.size();
    read_output(0);
  }
  return result_;
}

CommandResult run_command(const std::string& command, double timeout_s) {
  RunningCommand running(command);
  return running.wait(timeout_s);
}

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace eggroll::test
