// The layer of perturbed_linear.hpp in plain C++, for the compiler to vectorise with the flags of
// the file that includes it; everything has internal linkage, as in portable.hpp. A file with
// better ones gives its own Products and Sums.
#pragma once

#include <cstring>

#include "kernels/bfloat16.hpp"
#include "kernels/cpu/fused.hpp"
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
  // acc[r][o] += x[r] . w[o] over the first `width` outputs of a panel, sixteens of them.
  static void products(const T* x, size_t in, size_t rows, const T* panel, size_t width,
                       float (*acc)[kPanel]) {
    for (size_t r = 0; r < rows; ++r) {
      const T* w = panel;
      for (size_t i = 0; i < in; i += kGroup<T>, w += kGroup<T> * kPanel)
        for (size_t k = 0; k < kGroup<T>; ++k) {
          const float xs = widened(x[r * in + i + k]);
          for (size_t o = 0; o < width; ++o)
            acc[r][o] = fused(xs, widened(w[kGroup<T> * o + k]), acc[r][o]);
        }
    }
  }
};

inline constexpr size_t kLanes = 16;  // sums of a projection, side by side

template <typename T>
constexpr size_t kStretch = kLanes* kGroup<T>;  // inputs, of which each sum takes one group

// The sums of a projection.
template <typename T>
struct PortableFloatSums {
  float sum[kLanes] = {};

  void add(const T* x, const int8_t* b) {
    for (size_t k = 0; k < kGroup<T>; ++k)
      for (size_t l = 0; l < kLanes; ++l) {
        const size_t i = l * kGroup<T> + k;
        sum[l] = fused(widened(x[i]), b[i], sum[l]);
      }
  }
  float total() const {
    const auto of_four = [](const float* s) { return (s[0] + s[2]) + (s[1] + s[3]); };
    const float fours[] = {of_four(sum), of_four(sum + 4), of_four(sum + 8), of_four(sum + 12)};
    return of_four(fours);
  }
};

// projection[row][q] = scale x . B_q, of Count of them from row r + q = `first` on. Side by side, they
// need not wait for each other.
template <typename T, typename Sums, size_t Count>
void project(const PerturbedLinearCall<T>& c, size_t first) {
  const T* x[Count];
  const int8_t* b[Count];
  for (size_t n = 0; n < Count; ++n) {
    const size_t row = (first + n) / c.noise_rank, q = (first + n) % c.noise_rank;
    x[n] = c.x + row * c.in;
    b[n] = c.noise[row].elements + q * noise_run(c.in);
  }
  Sums sums[Count];
  size_t i = 0;
  for (; i + kStretch<T> <= c.in; i += kStretch<T>)
#pragma GCC unroll 4
    for (size_t n = 0; n < Count; ++n) sums[n].add(x[n] + i, b[n] + i);
  if (i < c.in)
#pragma GCC unroll 4
    for (size_t n = 0; n < Count; ++n) {
      T rest[kStretch<T>] = {};  // filled up with zeros
      std::memcpy(rest, x[n] + i, (c.in - i) * sizeof(T));
      sums[n].add(rest, b[n] + i);
    }
#pragma GCC unroll 4
  for (size_t n = 0; n < Count; ++n)
    c.projection[first + n] = c.noise[(first + n) / c.noise_rank].scale * sums[n].total();
}

template <typename T, typename Sums>
void portable_float_project(const PerturbedLinearCall<T>& c) {
  const size_t all = c.rows * c.noise_rank;
  size_t first = 0;
  for (; first + 4 <= all; first += 4) project<T, Sums, 4>(c, first);
  for (; first < all; ++first) project<T, Sums, 1>(c, first);
}

template <typename T, typename Products, typename Sums>
void portable_float_linear(const PerturbedLinearCall<T>& c) {
  if (c.noise != nullptr) portable_float_project<T, Sums>(c);
  const size_t terms = c.noise != nullptr ? c.noise_rank : 0;
  for (size_t first = 0; first < c.out; first += kPanel)
    for (size_t tile = 0; tile < c.rows; tile += kTileRows) {
      const size_t rows = c.rows - tile < kTileRows ? c.rows - tile : kTileRows;
      const size_t outputs = c.out - first < kPanel ? c.out - first : kPanel;
      const size_t width = (outputs + 15) / 16 * 16;
      alignas(64) float acc[kTileRows][kPanel] = {};
      Products::products(c.x + tile * c.in, c.in, rows, c.panels + first * c.in, width, acc);
      for (size_t r = 0; r < rows; ++r) {
        const size_t row = tile + r;
        for (size_t q = 0; q < terms; ++q) {
          const int8_t* a =
              c.noise[row].elements + terms * noise_run(c.in) + q * noise_run(c.out) + first;
          const float p = c.projection[row * terms + q];
          for (size_t o = 0; o < width; ++o) acc[r][o] = fused(p, a[o], acc[r][o]);
        }
        T* y = c.y + row * c.out + first;
        for (size_t o = 0; o < outputs; ++o) round_to(acc[r][o], y[o]);
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
    Products::products(x, kIn, kTileRows, panel, kPanel, acc);
    asm volatile("" : : "r"(x), "r"(panel), "r"(acc) : "memory");
  }
  return 2.0 * kTileRows * kPanel * kIn * static_cast<double>(iterations);
}

template <typename T, typename Products, typename Sums>
constexpr FloatIsa<T> portable_float_isa(const char* name) {
  return {.name = name,
          .linear = portable_float_linear<T, Products, Sums>,
          .product_loop = portable_float_product_loop<T, Products>};
}

}  // namespace
}  // namespace eggroll::cpu
