// The micro kernel of every product in AVX-512, whatever its elements are: int8, bf16 and fp32 move
// in the same way, four bytes of a row against four bytes of each of 64 outputs. A Products says
// what becomes of them:
//
//   Sum          sixteen sums
//   add          sum += the products of a group of four bytes, broadcast, with sixteen groups
//   kOperations  multiplications and additions of one add
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/cpu/isa.hpp"

namespace eggroll::cpu {
namespace {

inline __m512i load(const void* p) { return _mm512_loadu_si512(p); }
inline void store(void* p, __m512i v) { _mm512_storeu_si512(p, v); }
inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

// body(0) ... body(Count - 1), each number a type of its own: what is indexed by them stays in
// registers.
template <int Count, typename Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (body(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, Count>{});
}

// What is to be in the second-level cache soon: each group of a product asks for one line of it.
// Worth its instruction where a block of members goes through many layers, whose weights come from
// farther away.
struct Ahead {
  const char* at;
  size_t step;

  void ask() {
    _mm_prefetch(at, _MM_HINT_T1);
    at += step;
  }
};
struct NothingAhead {
  void ask() {}
};

// acc[r][j] += products of a group of row r with 16 outputs, for Rows rows and the first 16 Vectors
// outputs of a panel. A group is four bytes of a row (rows row_bytes apart), broadcast, and vectors
// of the panel.
template <typename Products, int Rows, int Vectors>
[[gnu::always_inline]] inline void add_group(typename Products::Sum (&acc)[Rows][Vectors],
                                             const void* rows, size_t row_bytes,
                                             const void* weights) {
  const char* x = static_cast<const char*>(rows);
  const char* w = static_cast<const char*>(weights);
  // One by one: of an array g++ 12 makes other loops.
  const __m512i w0 = load(w), w1 = load(w + 64 * (Vectors > 1)), w2 = load(w + 128 * (Vectors > 2)),
                w3 = load(w + 192 * (Vectors > 3));
#pragma GCC unroll 12
  for (int r = 0; r < Rows; ++r) {
    int32_t four;
    std::memcpy(&four, x + r * row_bytes, sizeof four);
    const __m512i xs = _mm512_set1_epi32(four);
    Products::add(acc[r][0], xs, w0);
    if constexpr (Vectors > 1) Products::add(acc[r][1], xs, w1);
    if constexpr (Vectors > 2) Products::add(acc[r][2], xs, w2);
    if constexpr (Vectors > 3) Products::add(acc[r][3], xs, w3);
  }
}

// The same over many groups, group_bytes apart in a row. Six rows fill 24 accumulators.
template <typename Products, int Rows, int Vectors, typename WhatIsAhead>
[[gnu::always_inline]] inline void accumulate(typename Products::Sum (&acc)[Rows][Vectors],
                                              const void* rows, size_t row_bytes,
                                              size_t group_bytes, const void* weights,
                                              size_t groups, WhatIsAhead ahead) {
  const char* x = static_cast<const char*>(rows);
  const char* panel = static_cast<const char*>(weights);
#pragma GCC unroll 4
  for (size_t g = 0; g < groups; ++g, panel += 4 * kPanel, x += group_bytes) {
    ahead.ask();
    add_group<Products>(acc, x, row_bytes, panel);
  }
}

// tile.operator()<Rows>(row) for micro tiles that cover the rows from row on; each begins at an
// even row.
template <typename Tile>
inline void for_each_micro_tile(size_t row, size_t rows, const Tile& tile) {
  for (; rows - row >= 9 || rows - row == 6; row += 6) tile.template operator()<6>(row);
  // Seven and eight rows go as 4 + 3 and 4 + 4: a tile of one or two has too few accumulators to
  // hide the latency.
  if (rows - row > 6) {
    tile.template operator()<4>(row);
    row += 4;
  }
  switch (rows - row) {
    case 1:
      return tile.template operator()<1>(row);
    case 2:
      return tile.template operator()<2>(row);
    case 3:
      return tile.template operator()<3>(row);
    case 4:
      return tile.template operator()<4>(row);
    case 5:
      return tile.template operator()<5>(row);
    default:
      return;
  }
}

// The ceiling of products: independent instructions on registers alone, 16 accumulators, which is
// more than latency times throughput of any processor that has them. Returns the operations it did.
template <typename Products>
inline double loop_of_products(uint64_t iterations) {
  using Sum = typename Products::Sum;
  Sum a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, b0{}, b1{}, b2{}, b3{}, b4{}, b5{}, b6{},
      b7{};
  // Nothing is known of them: equal sums would be made once.
  asm volatile("" : "+v"(a0), "+v"(a1), "+v"(a2), "+v"(a3), "+v"(a4), "+v"(a5), "+v"(a6), "+v"(a7));
  asm volatile("" : "+v"(b0), "+v"(b1), "+v"(b2), "+v"(b3), "+v"(b4), "+v"(b5), "+v"(b6), "+v"(b7));
  __m512i u = _mm512_set1_epi8(0x3F), w = u;  // 63, or 0.75 as bf16 and fp32
  for (uint64_t i = 0; i < iterations; ++i) {
    for (Sum* a : {&a0, &a1, &a2, &a3, &a4, &a5, &a6, &a7}) Products::add(*a, u, w);
    for (Sum* b : {&b0, &b1, &b2, &b3, &b4, &b5, &b6, &b7}) Products::add(*b, u, w);
    asm volatile("" : "+v"(u), "+v"(w));
  }
  asm volatile("" : : "v"(a0), "v"(a1), "v"(a2), "v"(a3), "v"(a4), "v"(a5), "v"(a6), "v"(a7));
  asm volatile("" : : "v"(b0), "v"(b1), "v"(b2), "v"(b3), "v"(b4), "v"(b5), "v"(b6), "v"(b7));
  return 16 * Products::kOperations * static_cast<double>(iterations);
}

}  // namespace
}  // namespace eggroll::cpu
