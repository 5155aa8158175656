// What the tables avx2 and avxvnni share: the end of a product that is not perturbed, or whose
// perturbation can be split.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/portable.hpp"

namespace eggroll::cpu {
namespace {

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

struct Avx2Epilogue {
  static bool can_finish(const LinearCall& c) { return c.noise.terms == 0 || can_split(c); }

  static void finish_row(const LinearCall& c, int row, size_t first, const int32_t* acc) {
    c.noise.terms == 0 ? finish<false>(c, row, first, acc) : finish<true>(c, row, first, acc);
  }

 private:
  template <bool Perturbed>
  static void finish(const LinearCall& c, int row, size_t first, const int32_t* acc) {
    const int8_t* a = nullptr;
    __m256i factor{}, weight{};
    if constexpr (Perturbed) {
      a = c.noise.a + static_cast<size_t>(row / 2) * c.noise.stride + first;
      factor = _mm256_set1_epi32(c.projection[2 * row]);
      weight = _mm256_set1_epi32(c.projection[2 * row + 1]);
    }
    int8_t* y = c.y + row * c.w.out + first;
    const __m128i shift = _mm_cvtsi32_si128(c.shift);
    // Bytes 0 ... 3 and, in the upper half, 4 ... 7, each four times.
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4,
                                            4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
    const auto eight = [&](size_t o) {
      if constexpr (!Perturbed) return _mm256_sra_epi32(load(acc + o), shift);
      const __m256i bytes = _mm256_set1_epi64x([&] {
        long long eight_bytes;
        std::memcpy(&eight_bytes, a + o, sizeof eight_bytes);
        return eight_bytes;
      }());
      const __m256i words = _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, spread), 8);
      const __m256i perturbation = _mm256_madd_epi16(_mm256_mulhrs_epi16(words, factor), weight);
      return _mm256_sra_epi32(_mm256_add_epi32(load(acc + o), perturbation), shift);
    };
    const __m256i lowest = _mm256_set1_epi8(-127);
    const __m256i flip = _mm256_set1_epi8(static_cast<char>(c.flip));
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // after packing in lanes
    for (size_t o = 0; o < kPanel; o += 32) {
      const __m256i low = _mm256_packs_epi32(eight(o), eight(o + 8));
      const __m256i high = _mm256_packs_epi32(eight(o + 16), eight(o + 24));
      const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), in_order);
      store(y + o, _mm256_xor_si256(_mm256_max_epi8(bytes, lowest), flip));
    }
  }
};

}  // namespace
}  // namespace eggroll::cpu
