#include "common/output.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/check.hpp"

namespace eggroll {
namespace {

bool has_result = false;  // else standard output is for people alone

[[noreturn]] void refuse_loss() {
  throw Error(fmt::format("standard output: cannot write: {}", std::strerror(errno)));
}

}  // namespace

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
