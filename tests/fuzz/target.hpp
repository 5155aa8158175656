// What every fuzz target has: the entry that libFuzzer and replay_main.cpp call, files to hand an
// input to readers of files, and a check that ends the process, which both take for a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/scratch_folder.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace eggroll::test {

inline void must_hold(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

// One folder a process, removed at its end.
inline const ScratchFolder& scratch() {
  static const ScratchFolder folder;
  return folder;
}

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The parts of an input between zero bytes, at least one.
inline std::vector<std::string> parts_of(std::string_view input) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t end = input.find('\0');
    parts.emplace_back(input.substr(0, end));
    if (end == std::string_view::npos) return parts;
    input.remove_prefix(end + 1);
  }
}

}  // namespace eggroll::test
