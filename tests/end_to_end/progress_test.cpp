// What a person sees of a run on a terminal.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

class PseudoTerminal {
 public:
  explicit PseudoTerminal(unsigned short columns) {
    std::array<char, 256> name{};
    winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(openpty(&screen_, &program_, name.data(), nullptr, &size), 0);
    fcntl(screen_, F_SETFL, O_NONBLOCK);
    name_ = name.data();
  }
  ~PseudoTerminal() {
    close(screen_);
    close(program_);
  }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;

  const std::string& name() const { return name_; }
  void resize(unsigned short columns) const {
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(ioctl(screen_, TIOCSWINSZ, &size), 0);
  }
  // What is written on it from now on, until it has been renewed that many times; a line ends with \r\n.
  std::string watch(size_t renewals) const {
    std::string seen;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (parts(seen).size() <= renewals && std::chrono::steady_clock::now() < limit) {
      std::array<char, 4096> bytes;
      const ssize_t count = read(screen_, bytes.data(), bytes.size());
      if (count > 0) seen.append(bytes.data(), static_cast<size_t>(count));
      if (count <= 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return seen;
  }
  // Between what takes the cursor back to the beginning of a cleared line.
  static std::vector<std::string> parts(const std::string& seen) {
    const std::string renewal = "\r\033[K";
    std::vector<std::string> found;
    size_t first = 0;
    for (size_t at; (at = seen.find(renewal, first)) != std::string::npos;
         first = at + renewal.size())
      found.push_back(seen.substr(first, at - first));
    found.push_back(seen.substr(first));
    return found;
  }

 private:
  int screen_ = -1, program_ = -1;
  std::string name_;
};

class Progress : public testing::Test {
 protected:
  // One line of less than so many columns, and as wide as it can be.
  static void expect_one_line(const std::vector<std::string>& parts, size_t first, size_t columns) {
    for (size_t i = first; i + 1 < parts.size(); ++i) {
      EXPECT_TRUE(parts[i].starts_with("generation ")) << parts[i];
      EXPECT_EQ(parts[i].find('\n'), std::string::npos) << parts[i];
      EXPECT_EQ(parts[i].size(), columns - 1) << parts[i];
    }
  }
  void expect_renewed_in_place(
      const std::function<std::string(const std::string&)>& command) const {
    const PseudoTerminal terminal(80);
    RunningCommand running(command("train --task quadratic --generations 100000000 --run " +
                                   (folder_ / "run").string()) +
                           " >" + terminal.name());
    expect_one_line(PseudoTerminal::parts(terminal.watch(4)), 1, 80);
    terminal.resize(40);
    // One that was begun before may still come.
    expect_one_line(PseudoTerminal::parts(terminal.watch(5)), 2, 40);
    running.signal(SIGUSR2);
    EXPECT_EQ(running.wait(60).exit_code, 75);
  }

  ScratchFolder folder_;
};

TEST_F(Progress, IsALineAsWideAsTheTerminalAlsoWhenThatIsResized) {
  expect_renewed_in_place([](const std::string& arguments) { return eggroll(arguments); });
}

TEST_F(Progress, IsALineAsWideAsTheTerminalOfMpirun) {
  expect_renewed_in_place([](const std::string& arguments) { return mpirun(2, arguments); });
}

}  // namespace
}  // namespace eggroll::test
