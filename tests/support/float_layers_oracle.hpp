// Float layers one number at a time, in the order of operations that they promise, over parameters with
// a tensor of every role and noise.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/float_layers.hpp"
#include "kernels/learner.hpp"
#include "tests/support/devices.hpp"

namespace eggroll::test {

using Random = std::mt19937_64;

inline constexpr uint64_t kSeed = 23;
inline constexpr uint32_t kEpoch = 6;
inline constexpr float kSigma = 0.037f;

// A tensor of every role and noise.
enum Tensors : size_t {
  kEmbedding,
  kMatrix,
  kVector,
  kFullEmbedding,
  kFullMatrix,
  kFrozen,
  kConstant
};

inline ParameterLayout layout_of(uint32_t in, uint32_t out) {
  ParameterLayout layout;
  layout.add("embedding", Role::embedding, Noise::low_rank, Element::float32, 11, in);
  layout.add("matrix", Role::matrix, Noise::low_rank, Element::float32, out, in);
  layout.add("vector", Role::vector, Noise::full, Element::float32, out, 1);
  layout.add("full_embedding", Role::embedding, Noise::full, Element::float32, 11, in);
  layout.add("full_matrix", Role::matrix, Noise::full, Element::float32, out, in);
  layout.add("frozen", Role::matrix, Noise::none, Element::float32, out, in);
  layout.add("constant", Role::vector, Noise::none, Element::float32, out, 1);
  return layout;
}

inline std::vector<float> normal_numbers(size_t count, Random& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// One number at a time, as kernels/float_layers.hpp and kernels/cpu/perturbed_linear.hpp have it.
struct Oracle {
  ParameterLayout layout;
  std::vector<float> values;
  int noise_rank;
  uint32_t epoch = kEpoch;

  const float* weights(size_t tensor) const { return values.data() + layout[tensor].at / 4; }
  float noise(size_t tensor, const RowNoise& row, size_t element) const {
    return noise_element({kSeed, epoch, static_cast<uint32_t>(tensor), row.pair},
                         static_cast<uint32_t>(element));
  }
  float b(size_t tensor, const RowNoise& row, size_t q, size_t i) const {
    return noise(tensor, row, q * noise_run(layout[tensor].cols) + i);
  }
  float a(size_t tensor, const RowNoise& row, size_t q, size_t o) const {
    const TensorSpec& spec = layout[tensor];
    const size_t r = static_cast<size_t>(noise_rank);
    return noise(tensor, row, r * noise_run(spec.cols) + q * noise_run(spec.rows) + o);
  }
  float low_rank_scale(const RowNoise& row) const {
    return row.sign * static_cast<float>(kSigma / (256 * std::sqrt(double(noise_rank))));
  }
  bool is_perturbed(size_t tensor, const RowNoise& row) const {
    return layout[tensor].is_trained() && row.sign != 0;
  }

  // A weight that is formed.
  float weight(size_t tensor, const RowNoise& row, size_t o, size_t i) const {
    const TensorSpec& spec = layout[tensor];
    float value = weights(tensor)[o * spec.cols + i];
    if (!is_perturbed(tensor, row)) return value;
    if (spec.noise == Noise::full)
      return std::fma(row.sign * (kSigma / 16), noise(tensor, row, o * spec.cols + i), value);
    for (int q = 0; q < noise_rank; ++q)
      value = std::fma(low_rank_scale(row) * a(tensor, row, q, o), b(tensor, row, q, i), value);
    return value;
  }
  // The same in double.
  double exact_weight(size_t tensor, const RowNoise& row, size_t o, size_t i) const {
    const TensorSpec& spec = layout[tensor];
    double sum = 0;
    if (spec.noise == Noise::full)
      sum = noise(tensor, row, o * spec.cols + i) / 16.0;
    else if (spec.noise == Noise::low_rank)
      for (int q = 0; q < noise_rank; ++q)
        sum += a(tensor, row, q, o) / 16.0 * (b(tensor, row, q, i) / 16.0) / std::sqrt(noise_rank);
    return weights(tensor)[o * spec.cols + i] + double{row.sign} * kSigma * sum;
  }

  std::vector<float> linear(size_t tensor, const RowNoise& row, const float* x) const {
    const auto [in, out] = std::pair(layout[tensor].cols, layout[tensor].rows);
    const bool has_terms = is_perturbed(tensor, row) && layout[tensor].noise == Noise::low_rank;
    std::vector<float> projection;
    for (int q = 0; has_terms && q < noise_rank; ++q) {
      float sum[16] = {};
      for (size_t i = 0; i < (in + 15) / 16 * 16; ++i)
        sum[i % 16] = std::fma(i < in ? x[i] : 0.0f, b(tensor, row, q, i), sum[i % 16]);
      const auto of_four = [](const float* s) { return (s[0] + s[2]) + (s[1] + s[3]); };
      const float fours[] = {of_four(sum), of_four(sum + 4), of_four(sum + 8), of_four(sum + 12)};
      projection.push_back(low_rank_scale(row) * of_four(fours));
    }
    std::vector<float> y;
    for (size_t o = 0; o < out; ++o) {
      float sum = 0;
      for (size_t i = 0; i < in; ++i)
        sum = std::fma(x[i], has_terms ? weights(tensor)[o * in + i] : weight(tensor, row, o, i),
                       sum);
      for (size_t q = 0; q < projection.size(); ++q)
        sum = std::fma(projection[q], a(tensor, row, q, o), sum);
      y.push_back(sum);
    }
    return y;
  }
};

// Layers over parameters that are normal numbers.
struct Model {
  Model(const std::string& name, uint32_t in, uint32_t out, int noise_rank, Random& random)
      : device(device_on(name)),
        oracle{layout_of(in, out), normal_numbers(layout_of(in, out).size(), random), noise_rank},
        learner(device->make_learner({.layout = oracle.layout,
                                      .seed = kSeed,
                                      .noise_rank = noise_rank,
                                      .optimizer = "sgd"})),
        layers(device->make_float_layers({kSeed, noise_rank}, *learner)) {
    learner->write(0, std::as_bytes(std::span(oracle.values)));
  }

  std::vector<float> linear(size_t tensor, const std::vector<float>& x) {
    std::vector<float> y(x.size() / oracle.layout[tensor].cols * oracle.layout[tensor].rows);
    layers->linear(tensor, x, y);
    return y;
  }

  std::unique_ptr<Device> device;
  Oracle oracle;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<FloatLayers> layers;
};

}  // namespace eggroll::test
