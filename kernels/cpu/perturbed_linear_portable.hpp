// The layer of perturbed_linear.hpp in plain C++, for the compiler to vectorise with the flags of
// the file that includes it; everything has internal linkage, as in portable.hpp. A file with a
// better product gives its own Products; see products() below.
#pragma once

#include <cstring>

#include "kernels/bfloat16.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/cpu/perturbed_linear.hpp"

namespace eggroll::cpu {
namespace {

constexpr size_t kTileRows = 6;  // rows of one micro tile

template <typename T>
constexpr size_t kGroup = 4 / sizeof(T);  // inputs that stand together in a panel

inline float widened(float value) { return value; }
inline float widened(uint16_t bits) { return float_of_bf16(bits); }
inline void round_to(float value, float& to) { to = value; }
inline void round_to(float value, uint16_t& to) { to = bf16_of_float(value); }

template <typename T>
struct PortableFloatProducts {
  // acc[r][o] += x[r] . w[o] over the 64 outputs of a panel.
  static void products(const T* x, size_t in, size_t rows, const T* panel, float (*acc)[kPanel]) {
    for (size_t r = 0; r < rows; ++r) {
      const T* w = panel;
      for (size_t i = 0; i < in; i += kGroup<T>, w += kGroup<T> * kPanel)
        for (size_t k = 0; k < kGroup<T>; ++k) {
          const float xs = widened(x[r * in + i + k]);
          for (size_t o = 0; o < kPanel; ++o) acc[r][o] += xs * widened(w[kGroup<T> * o + k]);
        }
    }
  }
};

// projection[row][q] = s scale x . B_q
template <typename T>
void portable_float_project(const PerturbedLinearCall<T>& c, float scale) {
  constexpr size_t kSums = 32;  // side by side, so that they need not wait for each other
  for (size_t row = 0; row < c.rows; ++row)
    for (size_t q = 0; q < c.noise_rank; ++q) {
      const T* x = c.x + row * c.in;
      const int8_t* b = c.noise + row / 2 * c.noise_stride + q * c.in;
      float sums[kSums] = {};
      for (size_t i = 0; i < c.in; i += kSums)
        for (size_t k = 0; k < kSums; ++k) sums[k] += widened(x[i + k]) * b[i + k];
      for (size_t width = kSums / 2; width > 0; width /= 2)
        for (size_t k = 0; k < width; ++k) sums[k] += sums[k + width];
      c.projection[row * c.noise_rank + q] = (row % 2 == 0 ? scale : -scale) * sums[0];
    }
}

template <typename T, typename Products>
void portable_float_linear(const PerturbedLinearCall<T>& c, float scale) {
  if (scale != 0) portable_float_project(c, scale);
  const size_t terms = scale != 0 ? c.noise_rank : 0;
  for (size_t first = 0; first < c.out; first += kPanel)
    for (size_t tile = 0; tile < c.rows; tile += kTileRows) {
      const size_t rows = c.rows - tile < kTileRows ? c.rows - tile : kTileRows;
      alignas(64) float acc[kTileRows][kPanel] = {};
      Products::products(c.x + tile * c.in, c.in, rows, c.panels + first * c.in, acc);
      for (size_t r = 0; r < rows; ++r) {
        const size_t row = tile + r;
        const int8_t* a = c.noise + row / 2 * c.noise_stride + terms * c.in + first;
        for (size_t q = 0; q < terms; ++q) {
          const float p = c.projection[row * terms + q];
          for (size_t o = 0; o < kPanel; ++o) acc[r][o] += p * a[q * c.out + o];
        }
        T* y = c.y + row * c.out + first;
        for (size_t o = 0; o < kPanel; ++o) round_to(acc[r][o], y[o]);
      }
    }
}

// Without a register loop of its own a table has no better ceiling than its product, on data in the
// nearest cache.
template <typename T, typename Products>
double portable_float_product_loop(uint64_t iterations) {
  constexpr size_t kIn = 64;
  static T x[kTileRows * kIn];
  static T panel[kPanel * kIn];
  float acc[kTileRows][kPanel] = {};
  for (uint64_t i = 0; i < iterations; ++i) {
    Products::products(x, kIn, kTileRows, panel, acc);
    asm volatile("" : : "r"(x), "r"(panel), "r"(acc) : "memory");
  }
  return 2.0 * kTileRows * kPanel * kIn * static_cast<double>(iterations);
}

template <typename T, typename Products>
constexpr FloatIsa<T> portable_float_isa(const char* name) {
  return {.name = name,
          .linear = portable_float_linear<T, Products>,
          .product_loop = portable_float_product_loop<T, Products>};
}

}  // namespace
}  // namespace eggroll::cpu
