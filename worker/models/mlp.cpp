#include "worker/models/mlp.hpp"

#include <cmath>
#include <cstring>
#include <string>

#include "common/noise.hpp"

namespace eggroll {

void add_mlp(ParameterLayout& layout, const MlpShape& shape, Noise noise) {
  for (uint32_t layer = 0; layer <= shape.layers; ++layer) {
    const std::string name = layer == shape.layers ? "output" : "layer" + std::to_string(layer + 1);
    const uint32_t outputs = shape.outputs_of(layer);
    layout.add(name, Role::matrix, noise, Element::float32, outputs, shape.inputs_of(layer));
    layout.add(name + ".bias", Role::vector, Noise::full, Element::float32, outputs, 1);
  }
}

void start_mlp(const ParameterLayout& layout, const MlpShape& shape, size_t first, uint64_t seed,
               std::span<std::byte> arena) {
  for (uint32_t layer = 0; layer <= shape.layers; ++layer) {
    const auto tensor = static_cast<uint32_t>(first + 2 * layer);
    const bool rectifies = shape.activation == Activation::relu && layer < shape.layers;
    const double size = std::sqrt((rectifies ? 2.0 : 1.0) / shape.inputs_of(layer));
    const auto scale = static_cast<float>(size / 16 * (layer == shape.layers ? 0.01 : 1.0));
    std::vector<float> values(layout[tensor].size());
    for (uint32_t e = 0; e < values.size(); ++e)
      values[e] = scale * noise_element({seed, kInitialisationEpoch, tensor, 0}, e);
    std::memcpy(arena.data() + layout[tensor].at, values.data(), layout[tensor].bytes());
  }
}

void Mlp::activate(FloatLayers& layers, size_t bias, std::span<float> values) const {
  if (shape_.activation == Activation::tanh) return layers.add_vector_and_tanh(bias, values);
  layers.add_vector(bias, values);
  if (shape_.activation == Activation::pqn) layers.normalise(shape_.width, values);
  for (float& value : values) value = value < 0 ? 0 : value;  // NaN stays
}

void Mlp::run(FloatLayers& layers, size_t rows, std::span<const float> x, std::span<float> y) {
  for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
    std::vector<float>& values = hidden_[layer % 2];
    values.resize(rows * shape_.width);
    layers.linear(first_ + 2 * layer, x, values);
    activate(layers, first_ + 2 * layer + 1, values);
    x = values;
  }
  layers.linear(first_ + 2 * shape_.layers, x, y);
  layers.add_vector(first_ + 2 * shape_.layers + 1, y);
}

}  // namespace eggroll
