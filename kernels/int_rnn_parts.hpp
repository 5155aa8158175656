// What the twins of the integer model share besides its scalar arithmetic: where its tensors stand,
// and the exact loss of a byte.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/int_rnn.hpp"

namespace eggroll {

// Where a tensor stands in int_rnn_layout.
inline constexpr size_t kEmbedding = 0, kHead = 1;
enum LayerMatrix : size_t { kWf, kUf, kWh, kUh, kW1, kW2 };
enum LayerVector : size_t { kBf, kBh, kLn1, kLn2 };
inline constexpr size_t matrix_index(uint32_t layer, LayerMatrix which) {
  return 2 + 6 * size_t{layer} + which;
}
inline constexpr size_t vector_index(const IntRnnShape& shape, uint32_t layer, LayerVector which) {
  return 2 + 6 * size_t{shape.layers} + 4 * size_t{layer} + which;
}
inline constexpr size_t out_norm_index(const IntRnnShape& shape) {
  return 2 + 10 * size_t{shape.layers};
}

// The tensors in the order in which a token needs them.
inline std::vector<size_t> order_of_use(const IntRnnShape& shape) {
  std::vector<size_t> order{kEmbedding};
  for (uint32_t l = 0; l < shape.layers; ++l) {
    const auto vector = [&](LayerVector which) { return vector_index(shape, l, which); };
    order.insert(order.end(), {vector(kLn1), matrix_index(l, kWf), matrix_index(l, kUf),
                               vector(kBf), matrix_index(l, kWh), matrix_index(l, kUh), vector(kBh),
                               vector(kLn2), matrix_index(l, kW1), matrix_index(l, kW2)});
  }
  order.insert(order.end(), {out_norm_index(shape), kHead});
  return order;
}

// Whether every member's slice lies in the text.
inline bool reads_text(const Segments& s, PairRange pairs) {
  return s.position < s.slice_bytes &&
         (2 * pairs.end() + s.group_size - 1) / s.group_size * s.slice_bytes <= s.text.size();
}
inline constexpr const char* kReadsText = "every member's slice lies in the text";

// Hands in what the members of pairs that were taken together have scored: at once, or tile by tile
// where that is what the source hands out.
inline void finish_pairs(PairSource& source, PairRange pairs, std::span<const int32_t> score) {
  std::vector<double> fitness;
  for (uint64_t first = pairs.first; first < pairs.end();) {
    const uint64_t end = source.known() > 0
                             ? pairs.end()
                             : std::min(pairs.end(), (first / kTilePairs + 1) * kTilePairs);
    const auto of_part = score.subspan(2 * (first - pairs.first), 2 * (end - first));
    fitness.assign(of_part.begin(), of_part.end());
    source.finish({first, end - first}, fitness,
                  {{std::accumulate(of_part.begin(), of_part.end(), int64_t{0})}});
    first = end;
  }
}

// 2^(v / 16) for the 256 values of logit + 128.
inline const std::array<double, 256>& exact_exp2() {
  static const auto kTable = [] {
    std::array<double, 256> table;
    for (int v = 0; v < 256; ++v) table[v] = std::exp2(v / 16.0);
    return table;
  }();
  return kTable;
}

// Exact loss of a byte in 2^-24 bit under the distribution of the integer logits. sum: of
// exact_exp2 over them, in an order that every twin keeps, so that it is the same double: four sums
// of every fourth logit, then the first two, the last two, and both.
inline int64_t loss_2e24(double sum, int8_t logit_of_target) {
  const double bits = std::log2(sum) - (logit_of_target + 128) / 16.0;
  return std::llround(bits * 16777216.0);
}

}  // namespace eggroll
