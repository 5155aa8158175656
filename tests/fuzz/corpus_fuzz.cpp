// The text of a run: a file, or a folder of files. Input: the held-out share (8 bytes, a double),
// then the files with a zero byte between them; the first letter of a file is its folder. One file
// is also read by itself.
#include <algorithm>
#include <cstring>

#include "common/check.hpp"
#include "tests/fuzz/target.hpp"
#include "worker/lm/corpus.hpp"
#include "worker/lm/text_statistics.hpp"

using namespace eggroll;

namespace {

void read(const std::filesystem::path& path, double held_out, size_t text_bytes) {
  try {
    const Corpus corpus(path, held_out);
    const auto all = corpus.all(), train = corpus.train(), rest = corpus.held_out();
    test::must_hold(!train.empty() && train.size() + rest.size() == all.size(),
                    "training and held-out text are the whole");
    test::must_hold(all.size() - static_cast<size_t>(std::ranges::count(all, 0)) == text_bytes,
                    "every byte of text is there, once");
    test::must_hold(rest.size() <= static_cast<size_t>(held_out * static_cast<double>(all.size())),
                    "no more is held out than asked for");
    if (rest.empty()) return;
    unigram_cross_entropy(rest, train);
    gzip_bits_per_byte(rest);
  } catch (const ConfigError&) {
    test::must_hold(text_bytes == 0 || !(held_out >= 0 && held_out < 1), "a readable text is read");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  double held_out = 0;
  if (size < sizeof held_out) return 0;
  std::memcpy(&held_out, data, sizeof held_out);
  const std::vector<std::string> files =
      test::parts_of(test::text_of(data + sizeof held_out, size - sizeof held_out));
  if (files.size() > 16) return 0;
  const auto folder = test::scratch() / "corpus";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  size_t bytes = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const char first = files[i].empty() ? 'a' : files[i][0];
    const std::string name = std::string(1, static_cast<char>('a' + (first & 3))) + "/" +
                             std::to_string(i % 7) + "/" + std::to_string(i);
    const auto path = test::scratch().write("corpus/" + name, files[i]);
    if (i == 0) read(path, held_out, files[i].size());
    bytes += files[i].size();
  }
  read(folder, held_out, bytes);
  return 0;
}
