// Work that may not survive: done first in a sandbox, a child process under limits of memory and time,
// so that a library which falls over a file takes down nobody else. Who calls it does the work itself
// only when the child came through.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace eggroll {

enum class SandboxEnd {
  done,     // the work returned
  refused,  // it threw an Error
  died,     // it crashed, or took more memory or time than it was allowed
};

struct SandboxResult {
  SandboxEnd end = SandboxEnd::died;
  std::string what;  // refused: the Error's words; died: of what, as in "Segmentation fault"
};

struct SandboxLimits {
  uint64_t memory_bytes;  // of address space, beside what this process has already
  uint64_t compute_s;     // seconds of a processor; time spent waiting for a disk does not count
};

// The child sees everything as it is here and changes nothing: it writes no message, leaves no core
// file and flushes nothing. Calls from one thread at a time.
SandboxResult run_in_sandbox(const std::function<void()>& work, const SandboxLimits& limits);

// In the child: that much more memory from here on.
void allow_memory_in_sandbox(uint64_t bytes);

}  // namespace eggroll
