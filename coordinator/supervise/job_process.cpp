#include "coordinator/supervise/job_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/check.hpp"
#include "coordinator/stop_signal.hpp"

namespace eggroll {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kTerminateFor{2};
constexpr std::chrono::seconds kKillFor{10};

// Parent of each process of this machine.
std::map<pid_t, pid_t> parents() {
  std::map<pid_t, pid_t> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    const size_t after_name = text.rfind(')');
    if (after_name == std::string::npos || after_name + 4 > text.size()) continue;
    if (text[after_name + 2] == 'Z') continue;  // ended, and only to be collected
    found[std::stoi(name)] = std::atoi(text.c_str() + after_name + 4);
  }
  return found;
}

std::vector<pid_t> descendants() {
  const std::map<pid_t, pid_t> parent = parents();
  const pid_t me = getpid();
  std::vector<pid_t> found;
  for (const auto& [pid, first] : parent) {
    pid_t above = first;
    for (int level = 0; level < 64 && above > 1 && above != me; ++level) {
      const auto next = parent.find(above);
      above = next == parent.end() ? 0 : next->second;
    }
    if (above == me) found.push_back(pid);
  }
  return found;
}

}  // namespace

void adopt_orphans() { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

JobProcess::JobProcess(const std::vector<std::string>& command,
                       const std::map<std::string, std::string>& environment) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  int report[2];  // carries errno where the program cannot be executed
  if (pipe2(report, O_CLOEXEC) != 0) throw Error("cannot start the job: no pipe");
  const pid_t supervisor = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);  // no job without its supervisor
    if (getppid() != supervisor) _exit(1);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2})
      if (!is_left_ignored(number)) std::signal(number, SIG_DFL);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    execvp(words[0], words.data());
    const int error = errno;
    [[maybe_unused]] const ssize_t written = write(report[1], &error, sizeof error);
    _exit(127);
  }
  close(report[1]);
  int error = pid_ < 0 ? errno : 0;
  if (pid_ > 0 && read(report[0], &error, sizeof error) != sizeof error) error = 0;
  close(report[0]);
  if (error == 0) return;
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  pid_ = -1;
  throw Error(fmt::format("cannot start {}: {}", command[0], std::strerror(error)));
}

JobProcess::~JobProcess() {
  if (pid_ > 0) end();
}

void JobProcess::signal(int number) const {
  if (!exit_code_) kill(pid_, number);
}

std::optional<int> JobProcess::exit_code() {
  int status = 0;
  if (!exit_code_ && waitpid(pid_, &status, WNOHANG) == pid_)
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

void JobProcess::end() {
  const Clock::time_point begin = Clock::now();
  bool has_warned = false;
  for (;;) {
    exit_code();
    const std::vector<pid_t> left = descendants();
    // Orphans that have ended are to be collected; the job itself is exit_code()'s.
    if (exit_code_)
      while (waitpid(-1, nullptr, WNOHANG) > 0) {
      }
    const Clock::duration passed = Clock::now() - begin;
    if (left.empty() || passed > kKillFor) return;
    for (const pid_t pid : left) {
      if (passed >= kTerminateFor) {
        kill(pid, SIGKILL);
      } else if (!has_warned) {
        kill(pid, SIGTERM);
        kill(pid, SIGCONT);
      }
    }
    has_warned = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace eggroll
