// A ternary message: refused, or the one message that its values make.
// Input: how many of the last byte's five values count, then the message.
#include <algorithm>
#include <span>

#include "common/check.hpp"
#include "common/messages/ternary.hpp"
#include "tests/fuzz/target.hpp"

using namespace eggroll;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto packed = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<int8_t> values(kTernaryPerByte * packed.size() - data[0] % kTernaryPerByte);
  try {
    unpack_ternary(packed, values);
  } catch (const Error&) {
    return 0;
  }
  for (int8_t value : values) test::must_hold(value >= -1 && value <= 1, "values are -1, 0, 1");
  std::vector<std::byte> again(packed.size());
  pack_ternary(values, again);
  test::must_hold(std::ranges::equal(again, packed), "the values make the message");
  return 0;
}
