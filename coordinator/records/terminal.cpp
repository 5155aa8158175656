#include "coordinator/records/terminal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace eggroll {
namespace {

constexpr size_t kUsualColumns = 80;

size_t columns_of(int descriptor) {
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsualColumns;
}

}  // namespace

std::optional<Terminal> Terminal::of_output() {
  if (!isatty(STDOUT_FILENO)) return std::nullopt;
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return Terminal("");
  // Up to the launcher, past what may stand in between (a shell, a profiler).
  pid_t process = getppid();
  for (int level = 0; level < 8 && process > 1; ++level) {
    const std::filesystem::path folder = fmt::format("/proc/{}", process);
    std::ifstream status(folder / "stat");
    std::string stat;
    std::getline(status, stat);
    const size_t open = stat.find('('), close = stat.rfind(')');  // pid (command) state ppid ...
    if (open == std::string::npos || close == std::string::npos) return std::nullopt;
    const std::string command = stat.substr(open + 1, close - open - 1);
    if (command == "mpirun" || command == "mpiexec" || command == "orterun") {
      std::error_code error;
      std::string output = std::filesystem::read_symlink(folder / "fd" / "1", error).string();
      if (error || !(output.starts_with("/dev/pts/") || output.starts_with("/dev/tty")))
        return std::nullopt;
      return Terminal(std::move(output));
    }
    char state = 0;
    std::istringstream(stat.substr(close + 1)) >> state >> process;
  }
  return std::nullopt;
}

size_t Terminal::columns() const {
  if (path_.empty()) return columns_of(STDOUT_FILENO);
  const int descriptor = open(path_.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  const size_t columns = columns_of(descriptor);
  if (descriptor >= 0) close(descriptor);
  return columns;
}

}  // namespace eggroll
