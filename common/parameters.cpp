#include "common/parameters.hpp"

#include "common/check.hpp"
#include "common/noise.hpp"

namespace eggroll {

void ParameterLayout::add(std::string name, TensorKind kind, uint32_t rows, uint32_t cols) {
  tensors_.push_back({std::move(name), kind, rows, cols, size_});
  size_ += tensors_.back().size();
}

size_t ParameterLayout::index_of(std::string_view name) const {
  for (size_t i = 0; i < tensors_.size(); ++i)
    if (tensors_[i].name == name) return i;
  throw Error("no tensor named " + std::string(name) + " in this layout");
}

ParameterLayout int_rnn_layout(const IntRnnShape& shape) {
  const uint32_t d = shape.width;
  ParameterLayout layout;
  layout.add("emb", TensorKind::embedding, kVocabulary, d);
  layout.add("head", TensorKind::matrix, kVocabulary, d);
  const auto layer_name = [](uint32_t i, const char* name) {
    return "layers." + std::to_string(i) + "." + name;
  };
  for (uint32_t i = 0; i < shape.layers; ++i) {
    for (const char* name : {"Wf", "Uf", "Wh", "Uh"})
      layout.add(layer_name(i, name), TensorKind::matrix, d, d);
    layout.add(layer_name(i, "W1"), TensorKind::matrix, 4 * d, d);
    layout.add(layer_name(i, "W2"), TensorKind::matrix, d, 4 * d);
  }
  for (uint32_t i = 0; i < shape.layers; ++i)
    for (const char* name : {"bf", "bh", "ln1", "ln2"})
      layout.add(layer_name(i, name), TensorKind::vector, d, 1);
  layout.add("ln_out", TensorKind::vector, d, 1);
  return layout;
}

std::vector<int8_t> int_rnn_initial_parameters(const IntRnnShape& shape, uint64_t seed) {
  const ParameterLayout layout = int_rnn_layout(shape);
  std::vector<int8_t> parameters(layout.size());
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& tensor = layout[t];
    int8_t* values = parameters.data() + tensor.offset;
    if (tensor.kind == TensorKind::vector) {
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
