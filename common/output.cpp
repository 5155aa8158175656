#include "common/output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

#include "common/check.hpp"

namespace eggroll {
namespace {

bool has_result = false;  // else standard output is for people alone

[[noreturn]] void refuse_loss() {
  throw Error(fmt::format("standard output: cannot write: {}", std::strerror(errno)));
}

}  // namespace

void occupy_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    // The lowest that is free is this one. Read where it is to be written, it fails like one that is closed.
    if (open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) != descriptor)
      throw Error(fmt::format("descriptor {} is closed, and /dev/null cannot take its place: {}",
                              descriptor, std::strerror(errno)));
  }
}

void tell(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

void complain(std::string_view what) { tell(stderr, fmt::format("eggroll: {}\n", what)); }

void write_result(std::string_view text) {
  has_result = true;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) refuse_loss();
}

void flush_result() {
  if (!has_result) return;
  if (std::fflush(stdout) != 0) refuse_loss();
  // Some file systems find out only when a descriptor is closed.
  const int descriptor = dup(STDOUT_FILENO);
  if (descriptor < 0 || close(descriptor) != 0) refuse_loss();
}

}  // namespace eggroll
