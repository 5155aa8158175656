// metrics.jsonl as a resumed run finds it: records of completed generations stay as they are, all
// else goes. Input: the number of completed generations, one byte, then the file.
#include "common/check.hpp"
#include "coordinator/records/run_log.hpp"
#include "tests/fuzz/target.hpp"

using namespace eggroll;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string before(test::text_of(data + 1, size - 1));
  const auto path = test::scratch().write("metrics.jsonl", before);
  RunConfig config;
  config.run = test::scratch().path().string();
  RunLog(config, data[0], 1);
  const std::string kept = test::read_text(path);
  // Every line that stays was there, in this order.
  size_t at = 0;
  for (size_t first = 0; first < kept.size();) {
    const size_t end = kept.find('\n', first);
    test::must_hold(end != std::string::npos, "whole lines are kept");
    const size_t found = before.find(kept.substr(first, end - first), at);
    test::must_hold(found != std::string::npos, "lines are kept as they were");
    at = found + end - first;
    first = end + 1;
  }
  RunLog(config, data[0], 1);
  test::must_hold(test::read_text(path) == kept, "kept once, kept again");
  return 0;
}
