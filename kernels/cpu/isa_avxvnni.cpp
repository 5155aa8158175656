// The table for machines with AVX-VNNI and without AVX-512 (with EGGROLL_ISA also for others): the
// product instruction of AVX-512 on half as many lanes. Elementwise functions are the portable
// ones, vectorised by the compiler.
#include "kernels/cpu/avx2.hpp"

namespace eggroll::cpu {
namespace {

// acc += dot of four u8 with four s8. The intrinsic makes g++ 12 spill an array of accumulators to
// memory.
inline void dot4(__m256i& acc, __m256i u8, __m256i s8) {
  asm("%{vex%} vpdpbusd %2,%1,%0" : "+x"(acc) : "x"(u8), "x"(s8));
}

struct AvxVnniProducts : Avx2Epilogue {
  // Activations go into the product as they are, with an offset of 128 that products() leaves in.
  static void start(const int8_t* panel, size_t in4, int32_t* sums) {
    const __m256i offset = _mm256_set1_epi8(-128);  // 128 as u8
    for (size_t o = 0; o < kPanel; o += 8) {
      __m256i sum = _mm256_setzero_si256();
      for (size_t g = 0; g < in4; ++g) dot4(sum, offset, load(panel + 4 * (g * kPanel + o)));
      store(sums + o, _mm256_sub_epi32(_mm256_setzero_si256(), sum));
    }
  }

  static int32_t project(const uint8_t* x, const int8_t* b, size_t n, int32_t b_sum) {
    __m256i even = _mm256_setzero_si256(), odd = even;
    for (size_t i = 0; i < n; i += 64) {
      dot4(even, load(x + i), load(b + i));
      dot4(odd, load(x + i + 32), load(b + i + 32));
    }
    const __m256i sum = _mm256_add_epi32(even, odd);
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
    return _mm_extract_epi32(half, 0) + _mm_extract_epi32(half, 1) - 128 * b_sum;
  }

  // Rows x 16 outputs at a time in 2 * Rows accumulators.
  template <int Rows>
  static void tile(const uint8_t* x, size_t x_row, size_t x_group, const int8_t* panel, size_t in4,
                   int32_t (*acc)[kPanel]) {
    for (size_t o = 0; o < kPanel; o += 16) {
      __m256i sum[Rows][2];
#pragma GCC unroll 6
      for (int r = 0; r < Rows; ++r) {
        sum[r][0] = load(acc[r] + o);
        sum[r][1] = load(acc[r] + o + 8);
      }
      const int8_t* w = panel + 4 * o;
      const uint8_t* xs = x;
      for (size_t g = 0; g < in4; ++g, w += 4 * kPanel, xs += x_group) {
        const __m256i w0 = load(w), w1 = load(w + 32);
#pragma GCC unroll 6
        for (int r = 0; r < Rows; ++r) {
          int32_t four;
          std::memcpy(&four, xs + r * x_row, sizeof four);
          const __m256i fours = _mm256_set1_epi32(four);
          dot4(sum[r][0], fours, w0);
          dot4(sum[r][1], fours, w1);
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < Rows; ++r)
        for (int half = 0; half < 2; ++half) store(acc[r] + o + 8 * half, sum[r][half]);
    }
  }

  static void products(const uint8_t* x, size_t x_row, size_t x_group, int rows,
                       const int8_t* panel, size_t in4, int32_t (*acc)[kPanel]) {
    switch (rows) {
      case 1:
        return tile<1>(x, x_row, x_group, panel, in4, acc);
      case 2:
        return tile<2>(x, x_row, x_group, panel, in4, acc);
      case 3:
        return tile<3>(x, x_row, x_group, panel, in4, acc);
      case 4:
        return tile<4>(x, x_row, x_group, panel, in4, acc);
      case 5:
        return tile<5>(x, x_row, x_group, panel, in4, acc);
      default:
        return tile<6>(x, x_row, x_group, panel, in4, acc);
    }
  }
};

}  // namespace

const Isa& isa_avxvnni() {
  static const Isa isa = portable_isa<AvxVnniProducts>("avxvnni");
  return isa;
}

}  // namespace eggroll::cpu
