// Five values of {-1, 0, 1} a byte, in base 3: 1.6 bits a pair on the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace eggroll {

inline constexpr size_t kTernaryPerByte = 5;

constexpr size_t ternary_bytes(size_t values) {
  return (values + kTernaryPerByte - 1) / kTernaryPerByte;
}

// packed.size() == ternary_bytes(values.size()).
void pack_ternary(std::span<const int8_t> values, std::span<std::byte> packed);
// Throws Error on a byte that no five values make.
void unpack_ternary(std::span<const std::byte> packed, std::span<int8_t> values);

}  // namespace eggroll
