// The table for machines without any VNNI. Products widen to 16 bits and use vpmaddwd: exact, where
// vpmaddubsw would saturate. Elementwise functions are the portable ones, vectorised by the compiler.
#include "kernels/cpu/avx2.hpp"

namespace eggroll::cpu {
namespace {

// sum += pairwise products. From intrinsics g++ 12 makes a loop that keeps half of the accumulators
// in memory.
inline void add_products(__m256i& sum, __m256i x, __m256i w) {
  __m256i products;
  asm("vpmaddwd %2,%3,%1\n\tvpaddd %1,%0,%0" : "+x"(sum), "=&x"(products) : "x"(w), "x"(x));
}

struct Avx2Products : Avx2Epilogue {
  static constexpr auto start = PortableProducts::start;
  static constexpr auto project = PortableProducts::project;

  // Rows x 8 outputs at a time in 2 * Rows accumulators, two partial sums an output.
  template <int Rows>
  static void tile(const int16_t* x, size_t x_row, const int8_t* panel, size_t in4,
                   int32_t (*acc)[kPanel]) {
    for (size_t o = 0; o < kPanel; o += 8) {
      __m256i sum[Rows][2];
#pragma GCC unroll 6
      for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
      const int8_t* w = panel + 4 * o;
      for (size_t g = 0; g < in4; ++g, w += 4 * kPanel) {
        const __m256i w0 =
            _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
        const __m256i w1 =
            _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + 16)));
#pragma GCC unroll 6
        for (int r = 0; r < Rows; ++r) {
          long long four;
          std::memcpy(&four, x + r * x_row + 4 * g, sizeof four);
          const __m256i xs = _mm256_set1_epi64x(four);
          add_products(sum[r][0], xs, w0);
          add_products(sum[r][1], xs, w1);
        }
      }
      for (int r = 0; r < Rows; ++r) {
        // hadd leaves outputs 0 1 4 5 | 2 3 6 7 of the eight
        const __m256i pairs =
            _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[r][0], sum[r][1]), 0xD8);
        __m256i* to = reinterpret_cast<__m256i*>(acc[r] + o);
        _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), pairs));
      }
    }
  }

  // Groups of four u8 with their offset of 128 to int16.
  static void widen(const uint8_t* x, size_t x_group, size_t groups, int16_t* to) {
    size_t g = 0;
    if (x_group == 4) {
      const __m256i offset = _mm256_set1_epi16(128);
      for (; g + 4 <= groups; g += 4) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 4 * g));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 4 * g),
                            _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), offset));
      }
    }
    for (; g < groups; ++g) {
      int32_t four;
      std::memcpy(&four, x + g * x_group, sizeof four);
      const __m128i words =
          _mm_sub_epi16(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)), _mm_set1_epi16(128));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 4 * g), words);
    }
  }

  static void products(const uint8_t* x, size_t x_row, size_t x_group, int rows,
                       const int8_t* panel, size_t in4, int32_t (*acc)[kPanel]) {
    // Activations of the tile as int16, a stretch of the inputs at a time.
    constexpr size_t kStretch = 256;
    alignas(32) int16_t wide[kRows][4 * kStretch];
    for (size_t first = 0; first < in4; first += kStretch) {
      const size_t count = in4 - first < kStretch ? in4 - first : kStretch;
      for (int r = 0; r < rows; ++r)
        widen(x + r * x_row + first * x_group, x_group, count, wide[r]);
      const int8_t* w = panel + first * 4 * kPanel;
      switch (rows) {
        case 1:
          tile<1>(wide[0], 4 * kStretch, w, count, acc);
          break;
        case 2:
          tile<2>(wide[0], 4 * kStretch, w, count, acc);
          break;
        case 3:
          tile<3>(wide[0], 4 * kStretch, w, count, acc);
          break;
        case 4:
          tile<4>(wide[0], 4 * kStretch, w, count, acc);
          break;
        case 5:
          tile<5>(wide[0], 4 * kStretch, w, count, acc);
          break;
        default:
          tile<6>(wide[0], 4 * kStretch, w, count, acc);
          break;
      }
    }
  }
};

}  // namespace

const Isa& isa_avx2() {
  static const Isa isa = portable_isa<Avx2Products>("avx2");
  return isa;
}

}  // namespace eggroll::cpu
