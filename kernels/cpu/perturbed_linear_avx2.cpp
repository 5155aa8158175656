// The float layer for machines with AVX2 and FMA. Its product has 16 outputs of six rows in
// registers; bf16 is widened to fp32. All else is the portable text.
#include <immintrin.h>

#include <type_traits>

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
  static void tile(const float* x, size_t x_row, const T* panel, size_t in, float (*acc)[kPanel]) {
    for (size_t o = 0; o < kPanel; o += 16) {
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
                      float (*acc)[kPanel]) {
    switch (rows) {
      case 1:
        return tile<1>(x, x_row, panel, in, acc);
      case 2:
        return tile<2>(x, x_row, panel, in, acc);
      case 3:
        return tile<3>(x, x_row, panel, in, acc);
      case 4:
        return tile<4>(x, x_row, panel, in, acc);
      case 5:
        return tile<5>(x, x_row, panel, in, acc);
      default:
        return tile<6>(x, x_row, panel, in, acc);
    }
  }

  static void products(const T* x, size_t in, size_t rows, const T* panel, float (*acc)[kPanel]) {
    if constexpr (std::is_same_v<T, float>) {
      tile_of(rows, x, in, panel, in, acc);
    } else {
      alignas(32) float wide[kTileRows][kStretch];
      for (size_t first = 0; first < in; first += kStretch) {
        const size_t count = in - first < kStretch ? in - first : kStretch;
        for (size_t r = 0; r < rows; ++r)
          for (size_t i = 0; i < count; ++i) wide[r][i] = widened(x[r * in + first + i]);
        tile_of(rows, wide[0], kStretch, panel + first * kPanel, count, acc);
      }
    }
  }
};

}  // namespace

template <typename T>
const FloatIsa<T>& float_isa_avx2() {
  static const FloatIsa<T> isa = portable_float_isa<T, Avx2FloatProducts<T>>("avx2");
  return isa;
}
template const FloatIsa<float>& float_isa_avx2();
template const FloatIsa<uint16_t>& float_isa_avx2();

}  // namespace eggroll::cpu
