// A perceptron over FloatLayers: hidden layers of one width, each followed by its activation, and a
// linear output. Its tensors stand one after another in a layout: layer1, layer1.bias, ..., output,
// output.bias.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/layout.hpp"
#include "kernels/float_layers.hpp"

namespace eggroll {

enum class Activation {
  tanh,
  relu,
  pqn,  // rows normalised, then relu (Gallici et al. 2024)
};

struct MlpShape {
  uint32_t inputs = 1, outputs = 1;
  uint32_t layers = 3;  // hidden ones
  uint32_t width = 256;
  Activation activation = Activation::tanh;

  uint32_t inputs_of(uint32_t layer) const { return layer == 0 ? inputs : width; }
  uint32_t outputs_of(uint32_t layer) const { return layer == layers ? outputs : width; }
};

// noise: of the matrices; biases have a number each.
void add_mlp(ParameterLayout& layout, const MlpShape& shape, Noise noise);

// Normal weights of variance 1 / inputs (relu: 2 / inputs), the output's a hundredth of that in size, so
// that a new policy has no opinion; biases are 0. first: the perceptron's first tensor.
void start_mlp(const ParameterLayout& layout, const MlpShape& shape, size_t first, uint64_t seed,
               std::span<std::byte> arena);

class Mlp {
 public:
  Mlp(const MlpShape& shape, size_t first_tensor) : shape_(shape), first_(first_tensor) {}

  // For the rows of `layers`: x [rows, inputs] to y [rows, outputs].
  void run(FloatLayers& layers, size_t rows, std::span<const float> x, std::span<float> y);

 private:
  // With its bias.
  void activate(FloatLayers& layers, size_t bias, std::span<float> values) const;

  const MlpShape shape_;
  const size_t first_;
  std::vector<float> hidden_[2];
};

}  // namespace eggroll
