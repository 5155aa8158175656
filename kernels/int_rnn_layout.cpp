#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/int_rnn.hpp"

namespace eggroll {

ParameterLayout int_rnn_layout(const IntRnnShape& shape) {
  const uint32_t d = shape.width;
  ParameterLayout layout;
  const auto matrix = [&](std::string name, uint32_t rows, uint32_t cols,
                          Role role = Role::matrix) {
    layout.add(std::move(name), role, Noise::low_rank, Element::int8, rows, cols);
  };
  const auto vector = [&](std::string name) {
    layout.add(std::move(name), Role::vector, Noise::product, Element::int8, d, 1);
  };
  const auto layer_name = [](uint32_t i, const char* name) {
    return "layers." + std::to_string(i) + "." + name;
  };
  matrix("emb", kVocabulary, d, Role::embedding);
  matrix("head", kVocabulary, d);
  for (uint32_t i = 0; i < shape.layers; ++i) {
    for (const char* name : {"Wf", "Uf", "Wh", "Uh"}) matrix(layer_name(i, name), d, d);
    matrix(layer_name(i, "W1"), 4 * d, d);
    matrix(layer_name(i, "W2"), d, 4 * d);
  }
  for (uint32_t i = 0; i < shape.layers; ++i)
    for (const char* name : {"bf", "bh", "ln1", "ln2"}) vector(layer_name(i, name));
  vector("ln_out");
  return layout;
}

std::vector<int8_t> int_rnn_initial_parameters(const IntRnnShape& shape, uint64_t seed) {
  const ParameterLayout layout = int_rnn_layout(shape);
  std::vector<int8_t> parameters(layout.size());
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& tensor = layout[t];
    int8_t* values = parameters.data() + tensor.at;
    if (tensor.role == Role::vector) {
      const bool is_norm = tensor.name.find("ln") != std::string::npos;
      for (size_t e = 0; e < tensor.size(); ++e) values[e] = is_norm ? 16 : 0;
      continue;
    }
    const NoiseAddress at{seed, kInitialisationEpoch, static_cast<uint32_t>(t), 0};
    for (size_t e = 0; e < tensor.size(); e += 8) {
      const PhiloxBlock block = noise_block(at, static_cast<uint32_t>(e / 8));
      for (int lane = 0; lane < 8; ++lane) values[e + lane] = noise_of_block(block, lane);
    }
  }
  return parameters;
}

}  // namespace eggroll
