// The float layer for machines with AVX2 and FMA. Its product has 16 outputs of six rows in registers,
// its projection the sixteen sums of four; bf16 is widened to fp32. All else is the portable text.
#include <immintrin.h>

#include <type_traits>

#include "kernels/cpu/activations_portable.hpp"
#include "kernels/cpu/formed_weights_portable.hpp"
#include "kernels/cpu/perturbed_linear_portable.hpp"

namespace eggroll::cpu {
namespace {

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
// The inputs of bf16 pairs, as fp32.
inline __m256 first_of(__m256i pairs) { return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)); }
inline __m256 second_of(__m256i pairs) {
  // Two shifts instead of a mask, for which there is no register.
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(pairs, 16), 16));
}

// sum += x w. From intrinsics g++ 12 makes loops that keep some of the sums in memory.
inline void add_product(__m256& sum, __m256 x, __m256 w) {
  asm("vfmadd231ps %2,%1,%0" : "+x"(sum) : "x"(x), "x"(w));
}

// Sums of an input of each row, rows x_row apart, with the weights of 16 outputs
template <size_t Rows>
inline void add_products(__m256 (&sum)[Rows][2], const float* x, size_t x_row, __m256 w0,
                         __m256 w1) {
#pragma GCC unroll 6
  for (size_t r = 0; r < Rows; ++r) {
    const __m256 xs = _mm256_broadcast_ss(x + r * x_row);
    add_product(sum[r][0], xs, w0);
    add_product(sum[r][1], xs, w1);
  }
}

template <typename T>
struct Avx2FloatProducts {
  static constexpr size_t kStretch = 256;  // inputs that are widened at a time

  template <size_t Rows>
  static void tile(const float* x, size_t x_row, const T* panel, size_t in, size_t width,
                   float (*acc)[kPanel]) {
    for (size_t o = 0; o < width; o += 16) {
      __m256 sum[Rows][2];
#pragma GCC unroll 6
      for (size_t r = 0; r < Rows; ++r)
        for (size_t j = 0; j < 2; ++j) sum[r][j] = _mm256_loadu_ps(acc[r] + o + 8 * j);
      const T* w = panel + kGroup<T> * o;
      for (size_t i = 0; i < in; i += kGroup<T>, w += kGroup<T> * kPanel) {
        // A line of each group, too far apart for the processor to foresee.
        _mm_prefetch(reinterpret_cast<const char*>(w + 8 * kGroup<T> * kPanel), _MM_HINT_T0);
        const __m256i w0 = load(w), w1 = load(w + 8 * kGroup<T>);
        if constexpr (std::is_same_v<T, float>) {
          add_products(sum, x + i, x_row, _mm256_castsi256_ps(w0), _mm256_castsi256_ps(w1));
        } else {
          add_products(sum, x + i, x_row, first_of(w0), first_of(w1));
          add_products(sum, x + i + 1, x_row, second_of(w0), second_of(w1));
        }
      }
#pragma GCC unroll 6
      for (size_t r = 0; r < Rows; ++r)
        for (size_t j = 0; j < 2; ++j) _mm256_storeu_ps(acc[r] + o + 8 * j, sum[r][j]);
    }
  }

  static void tile_of(size_t rows, const float* x, size_t x_row, const T* panel, size_t in,
                      size_t width, float (*acc)[kPanel]) {
    switch (rows) {
      case 1:
        return tile<1>(x, x_row, panel, in, width, acc);
      case 2:
        return tile<2>(x, x_row, panel, in, width, acc);
      case 3:
        return tile<3>(x, x_row, panel, in, width, acc);
      case 4:
        return tile<4>(x, x_row, panel, in, width, acc);
      case 5:
        return tile<5>(x, x_row, panel, in, width, acc);
      default:
        return tile<6>(x, x_row, panel, in, width, acc);
    }
  }

  static void products(const T* x, size_t in, size_t rows, const T* panel, size_t width,
                       float (*acc)[kPanel]) {
    if constexpr (std::is_same_v<T, float>) {
      tile_of(rows, x, in, panel, in, width, acc);
    } else {
      alignas(32) float wide[kTileRows][kStretch];
      for (size_t first = 0; first < in; first += kStretch) {
        const size_t count = in - first < kStretch ? in - first : kStretch;
        for (size_t r = 0; r < rows; ++r)
          for (size_t i = 0; i < count; ++i) wide[r][i] = widened(x[r * in + first + i]);
        tile_of(rows, wide[0], kStretch, panel + first * kPanel, count, width, acc);
      }
    }
  }
};

template <typename T>
struct Avx2FloatSums {
  __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();

  // Eight elements of noise, in the low halves of words.
  static __m256 as_floats(__m128i words) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(words));
  }
  static void add_eight_groups(__m256& sum, const float* x, const int8_t* b) {
    const __m128i noise = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(b)));
    add_product(sum, _mm256_loadu_ps(x), as_floats(noise));
  }
  static void add_eight_groups(__m256& sum, const uint16_t* x, const int8_t* b) {
    const __m256i pairs = load(x);
    const __m128i noise = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b));
    add_product(sum, first_of(pairs), as_floats(_mm_srai_epi16(_mm_slli_epi16(noise, 8), 8)));
    add_product(sum, second_of(pairs), as_floats(_mm_srai_epi16(noise, 8)));
  }
  void add(const T* x, const int8_t* b) {
    add_eight_groups(low, x, b);
    add_eight_groups(high, x + 8 * kGroup<T>, b + 8 * kGroup<T>);
  }
  // (0 + 2) + (1 + 3) of each four, then of the four sums.
  static __m256 of_fours(__m256 v) {
    const __m256 pairs = _mm256_add_ps(v, _mm256_permute_ps(v, 0x4E));
    return _mm256_add_ps(pairs, _mm256_permute_ps(pairs, 0xB1));
  }
  float total() const {
    const __m256 halves = _mm256_add_ps(of_fours(low), of_fours(high));
    return _mm_cvtss_f32(
        _mm_add_ss(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)));
  }
};

}  // namespace

template <typename T>
const FloatIsa<T>& float_isa_avx2() {
  static const FloatIsa<T> isa =
      portable_float_isa<T, Avx2FloatProducts<T>, Avx2FloatSums<T>>("avx2");
  return isa;
}
template const FloatIsa<float>& float_isa_avx2();
template const FloatIsa<uint16_t>& float_isa_avx2();

const FormedWeightsIsa& formed_weights_isa_avx2() {
  static constexpr FormedWeightsIsa isa = formed_weights_isa<32>();
  return isa;
}

const ActivationsIsa& activations_isa_avx2() {
  static constexpr ActivationsIsa isa = portable_activations_isa();
  return isa;
}

}  // namespace eggroll::cpu
