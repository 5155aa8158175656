// The float layer in AVX-512 as every processor with it has it: fp32, and bf16 widened to fp32.
#include "kernels/cpu/perturbed_linear_avx512.hpp"

#include "kernels/cpu/activations_portable.hpp"
#include "kernels/cpu/formed_weights_portable.hpp"

namespace eggroll::cpu {
namespace {

struct Fp32Products {
  using Element = float;
  using Sum = __m512;
  static constexpr size_t kInputs = 16;
  static constexpr double kOperations = 32;

  static void add(Sum& sum, __m512i x, __m512i w) {
    sum = _mm512_fmadd_ps(floats_of(x), floats_of(w), sum);
  }
  static __m512i noise(const int8_t* noise) { return _mm512_castps_si512(noise_as_floats(noise)); }
  template <int Vectors>
  static void store(const Sum (&sum)[Vectors], float* y, size_t outputs) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j)
      _mm512_mask_storeu_ps(y + 16 * j, mask_of(outputs, j), sum[j]);
  }
};

struct WidenedBf16Products {
  using Element = uint16_t;
  using Sum = __m512;
  static constexpr size_t kInputs = 32;
  static constexpr double kOperations = 64;

  static __m512 first_of(__m512i pairs) { return floats_of(_mm512_slli_epi32(pairs, 16)); }
  static __m512 second_of(__m512i pairs) {
    return floats_of(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
  }
  static void add(Sum& sum, __m512i x, __m512i w) {
    sum = _mm512_fmadd_ps(first_of(x), first_of(w), sum);
    sum = _mm512_fmadd_ps(second_of(x), second_of(w), sum);
  }
  // bf16_of_float() of sixteen sums.
  static __m256i rounded(__m512 value) {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), last);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_mask_mov_epi32(_mm512_srli_epi32(sum, 16), is_nan, _mm512_set1_epi32(0x7fff)));
  }
  static __m512i noise(const int8_t* noise) {
    const __m256i low = rounded(noise_as_floats(noise));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), rounded(noise_as_floats(noise + 16)), 1);
  }
  template <int Vectors>
  static void store(const Sum (&sum)[Vectors], uint16_t* y, size_t outputs) {
    for (int j = 0; j < Vectors; ++j)
      _mm256_mask_storeu_epi16(y + 16 * j, mask_of(outputs, j), rounded(sum[j]));
  }
};

template <typename T>
struct ProductsOf {
  using Type = Fp32Products;
};
template <>
struct ProductsOf<uint16_t> {
  using Type = WidenedBf16Products;
};

}  // namespace

template <typename T>
const FloatIsa<T>& float_isa_avx512() {
  static const FloatIsa<T> isa = avx512_float_isa<typename ProductsOf<T>::Type>("avx512");
  return isa;
}
template const FloatIsa<float>& float_isa_avx512();
template const FloatIsa<uint16_t>& float_isa_avx512();

const FormedWeightsIsa& formed_weights_isa_avx512() {
  static constexpr FormedWeightsIsa isa = formed_weights_isa<64>();
  return isa;
}

const ActivationsIsa& activations_isa_avx512() {
  static constexpr ActivationsIsa isa = portable_activations_isa();
  return isa;
}

}  // namespace eggroll::cpu
