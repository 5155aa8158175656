// bf16 as bit patterns: the upper half of a float. Kernels and hosts need no header of CUDA for it.
#pragma once

#include <bit>
#include <cstdint>

namespace eggroll {

inline constexpr double kBf16Roundoff = 1.0 / 256;  // of rounding to nearest: 8 significant bits

constexpr float float_of_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// To nearest, ties to even; too large is infinite; every NaN becomes 0x7fff, as on the device.
constexpr uint16_t bf16_of_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace eggroll
