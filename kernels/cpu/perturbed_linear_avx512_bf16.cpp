// The layer in bf16 on processors that multiply it: vdpbf16ps, two inputs at a time.
#include "kernels/cpu/perturbed_linear_avx512.hpp"

namespace eggroll::cpu {
namespace {

struct Bf16Products {
  using Element = uint16_t;
  using Sum = __m512;
  static constexpr size_t kInputs = 32;
  static constexpr double kOperations = 64;

  static void add(Sum& sum, __m512i x, __m512i w) {
    sum = _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
  }
  static __m512i rounded(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
  }
  static __m512i noise(const int8_t* noise) {
    return rounded(noise_as_floats(noise), noise_as_floats(noise + 16));
  }
  template <int Vectors>
  static void store(const Sum (&sum)[Vectors], uint16_t* y, size_t outputs) {
    for (int j = 0; j < Vectors; j += 2) {
      const uint32_t low = mask_of(outputs, j), high = mask_of(outputs, j + 1);
      _mm512_mask_storeu_epi16(y + 16 * j, high << 16 | low,
                               rounded(sum[j], sum[j + 1 < Vectors ? j + 1 : j]));
    }
  }
};

}  // namespace

const FloatIsa<uint16_t>& float_isa_avx512_bf16() {
  static const FloatIsa<uint16_t> isa = avx512_float_isa<Bf16Products>("avx512 with bf16");
  return isa;
}

}  // namespace eggroll::cpu
