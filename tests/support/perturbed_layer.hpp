// A perturbed linear layer that tests make up: its outputs by an instruction set, exactly, and in the one
// order of operations.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include "common/noise.hpp"
#include "kernels/bfloat16.hpp"
#include "kernels/cpu/perturbed_linear.hpp"
#include "tests/support/isa_tables.hpp"
#include "tests/support/perturbed_linear_oracle.hpp"

namespace eggroll::cpu {

using Random = std::mt19937_64;

template <typename T>
constexpr bool kIsBf16 = std::is_same_v<T, uint16_t>;

template <typename T>
T element_of(float value) {
  if constexpr (kIsBf16<T>)
    return bf16_of_float(value);
  else
    return value;
}

// A layer and noise for it; what is no element of it is 127, also between the pairs.
template <typename T>
struct Layer {
  static constexpr size_t kGap = 37;

  test::LayerShape shape;
  float sigma;
  std::vector<T> x, w;
  std::vector<int8_t> noise;

  size_t stride() const { return low_rank_elements(shape.in, shape.out, shape.noise_rank) + kGap; }
  // Of an element of B and then A without gaps.
  size_t place(size_t element) const {
    const auto [members, in, out, r] = shape;
    if (element < r * in) return element / in * noise_run(in) + element % in;
    element -= r * in;
    return r * noise_run(in) + element / out * noise_run(out) + element % out;
  }
  std::vector<test::ExactOutput> exact() const {
    return test::exact_perturbed_linear(
        shape, sigma, std::span<const T>(x), std::span<const T>(w),
        [this](size_t pair, size_t element) { return noise[pair * stride() + place(element)]; });
  }
  double bound(const test::ExactOutput& exact) const {
    return test::bound_of_float_linear(shape, sigma, exact, kIsBf16<T>);
  }
};

// x, w: functions of no arguments; noise: of an address and an element.
template <typename T>
Layer<T> make_layer(const test::LayerShape& shape, float sigma, const auto& x, const auto& w,
                    const auto& noise) {
  Layer<T> layer{shape, sigma, {}, {}, {}};
  for (size_t i = 0; i < shape.members * shape.in; ++i) layer.x.push_back(element_of<T>(x()));
  for (size_t i = 0; i < shape.out * shape.in; ++i) layer.w.push_back(element_of<T>(w()));
  const size_t pairs = (shape.members + 1) / 2;
  layer.noise.assign(pairs * layer.stride(), 127);
  for (size_t pair = 0; pair < pairs; ++pair)
    for (size_t e = 0; e < shape.noise_rank * (shape.in + shape.out); ++e)
      layer.noise[pair * layer.stride() + layer.place(e)] =
          noise({17, 3, 5, static_cast<uint32_t>(1000 + pair)}, static_cast<uint32_t>(e));
  return layer;
}

template <typename T>
Layer<T> random_layer(const test::LayerShape& shape, Random& random, float weight_scale = 1) {
  const float deviation = 1 / std::sqrt(static_cast<float>(shape.in));
  std::normal_distribution<float> normal;
  return make_layer<T>(
      shape, 0.3f * deviation, [&] { return normal(random); },
      [&] { return weight_scale * deviation * normal(random); }, noise_element);
}

// Of these rows of the layer, in this order; all of them where none are given.
template <typename T>
std::vector<T> outputs(const FloatIsa<T>& isa, const Layer<T>& layer,
                       std::vector<size_t> order = {}) {
  const auto [members, in, out, r] = layer.shape;
  if (order.empty())
    for (size_t row = 0; row < members; ++row) order.push_back(row);
  test::Guarded<T> panels(panel_elements(out, in)), y(order.size() * out);
  test::Guarded<float> projection(order.size() * r);
  pack_panels(layer.w.data(), out, in, panels.data());
  std::vector<T> x;
  std::vector<NoisyRow> noise;
  for (const size_t row : order) {
    x.insert(x.end(), layer.x.begin() + row * in, layer.x.begin() + (row + 1) * in);
    if (layer.sigma == 0) continue;
    const float scale = perturbation_scale(layer.sigma, r);
    noise.push_back({layer.noise.data() + row / 2 * layer.stride(), row % 2 == 0 ? scale : -scale});
  }
  const test::BeforeAHole<T> guarded_x(x);
  perturbed_linear(isa, {.x = guarded_x.data(),
                         .panels = panels.data(),
                         .rows = order.size(),
                         .in = in,
                         .out = out,
                         .noise = noise.empty() ? nullptr : noise.data(),
                         .noise_rank = r,
                         .projection = projection.data(),
                         .y = y.data()});
  EXPECT_TRUE(panels.margins_are_untouched());
  EXPECT_TRUE(y.margins_are_untouched()) << isa.name;
  EXPECT_TRUE(projection.margins_are_untouched()) << isa.name;
  return std::vector<T>(y.data(), y.data() + order.size() * out);
}

// The order of perturbed_linear.hpp, with the fused operation of the maths library.
template <typename T>
std::vector<T> outputs_in_order(const Layer<T>& layer) {
  const auto [members, in, out, r] = layer.shape;
  constexpr size_t kGroup = 4 / sizeof(T);
  const auto number = [](T value) { return static_cast<float>(test::exact_value(value)); };
  std::vector<T> y;
  for (size_t row = 0; row < members; ++row) {
    const T* x = layer.x.data() + row * in;
    const int8_t* noise = layer.noise.data() + row / 2 * layer.stride();
    const size_t terms = layer.sigma == 0 ? 0 : r;
    std::vector<float> p(terms);
    for (size_t q = 0; q < terms; ++q) {
      float sum[16] = {};
      const size_t filled_up = (in + 16 * kGroup - 1) / (16 * kGroup) * (16 * kGroup);
      for (size_t i = 0; i < filled_up; ++i) {
        float& lane = sum[i / kGroup % 16];
        lane = std::fma(i < in ? number(x[i]) : 0.0f,
                        static_cast<float>(noise[q * noise_run(in) + i]), lane);
      }
      const auto of_four = [](const float* s) { return (s[0] + s[2]) + (s[1] + s[3]); };
      const float fours[4] = {of_four(sum), of_four(sum + 4), of_four(sum + 8), of_four(sum + 12)};
      const float scale = perturbation_scale(layer.sigma, r);
      p[q] = (row % 2 == 0 ? scale : -scale) * of_four(fours);
    }
    for (size_t o = 0; o < out; ++o) {
      float sum = 0;
      for (size_t i = 0; i < in; ++i)
        sum = std::fma(number(x[i]), number(layer.w[o * in + i]), sum);
      for (size_t q = 0; q < terms; ++q)
        sum = std::fma(p[q], static_cast<float>(noise[layer.place(r * in + q * out + o)]), sum);
      y.push_back(element_of<T>(sum));
    }
  }
  return y;
}

}  // namespace eggroll::cpu
