// Runs a fuzz target on files that are kept, without a fuzzer: the ordinary tests do so with every
// seed and every input that once broke something. Arguments: files and folders.
#include <algorithm>
#include <cstdio>

#include "tests/fuzz/target.hpp"

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (const fs::path& argument : std::vector<fs::path>(argv + 1, argv + argc)) {
    if (!fs::is_directory(argument)) files.push_back(argument);
    if (fs::is_directory(argument))
      for (const auto& entry : fs::directory_iterator(argument)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    std::printf("%s\n", file.c_str());
    std::fflush(stdout);
    const std::string input = eggroll::test::read_text(file);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  std::printf("%zu inputs\n", files.size());
  return files.empty() ? 1 : 0;
}
