#include "kernels/cpu/formed_weights.hpp"

#include <cstring>
#include <string_view>

namespace eggroll::cpu {
namespace {

// Transposes 8 x 8 bytes, byte k of row[i] with byte i of row[k]: pairs of rows change bytes, then words,
// then halves.
inline void transpose(uint64_t (&row)[8]) {
  constexpr uint64_t kLow[] = {0x00FF00FF00FF00FFu, 0x0000FFFF0000FFFFu, 0x00000000FFFFFFFFu};
  for (int step = 0; step < 3; ++step)
    for (int i = 0; i < 8; ++i) {
      const int other = i | 1 << step;
      if (i == other) continue;
      const uint64_t upper = row[i], lower = row[other], low = kLow[step];
      const int shift = 8 << step;
      row[i] = (upper & low) | (lower & low) << shift;
      row[other] = (upper >> shift & low) | (lower & ~low);
    }
}

}  // namespace

const FormedWeightsIsa& formed_weights_isa_of(const FloatIsa<float>& isa) {
#if defined(__x86_64__)
  if (std::string_view(isa.name) == "avx512") return formed_weights_isa_avx512();
  if (std::string_view(isa.name) == "avx2") return formed_weights_isa_avx2();
#endif
  return formed_weights_isa_scalar();
}

void pack_noise(const int8_t* elements, size_t out, size_t in, int8_t* panels) {
  for (size_t first = 0; first < out; first += 8) {
    int8_t* to = panels + first / kPanel * kPanel * in + first % kPanel;
    size_t i = 0;
    for (; first + 8 <= out && i + 8 <= in; i += 8) {
      uint64_t block[8];
      for (size_t o = 0; o < 8; ++o)
        std::memcpy(&block[o], elements + (first + o) * in + i, sizeof block[o]);
      transpose(block);
      for (size_t k = 0; k < 8; ++k) std::memcpy(to + (i + k) * kPanel, &block[k], sizeof block[k]);
    }
    for (; i < in; ++i)
      for (size_t o = first; o < first + 8 && o < out; ++o)
        to[i * kPanel + o - first] = elements[o * in + i];
  }
}

}  // namespace eggroll::cpu
