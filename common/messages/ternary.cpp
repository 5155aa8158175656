#include "common/messages/ternary.hpp"

#include <algorithm>

#include "common/check.hpp"

namespace eggroll {

void pack_ternary(std::span<const int8_t> values, std::span<std::byte> packed) {
  require(packed.size() == ternary_bytes(values.size()), "room for five values a byte");
  for (size_t i = 0; i < packed.size(); ++i) {
    const size_t first = i * kTernaryPerByte;
    int byte = 0;
    for (size_t k = std::min(first + kTernaryPerByte, values.size()); k-- > first;)
      byte = 3 * byte + values[k] + 1;
    packed[i] = static_cast<std::byte>(byte);
  }
}

void unpack_ternary(std::span<const std::byte> packed, std::span<int8_t> values) {
  require(packed.size() == ternary_bytes(values.size()), "five values a byte");
  for (size_t i = 0; i < packed.size(); ++i) {
    const size_t first = i * kTernaryPerByte;
    int byte = static_cast<int>(packed[i]);
    for (size_t k = first; k < std::min(first + kTernaryPerByte, values.size()); ++k, byte /= 3)
      values[k] = static_cast<int8_t>(byte % 3 - 1);
    require(byte == 0, "a byte of five ternary values");
  }
}

}  // namespace eggroll
