// The parameters of a model: named tensors in one arena of int8, in one fixed order. A tensor's
// index in the layout is also its address in the noise and its place in the update, so the layout
// is part of a run's identity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eggroll {

enum class TensorKind {
  matrix,     // rows = out, cols = in; perturbed by s A B^T / sqrt(r)
  embedding,  // rows = vocabulary, cols = width; a row is looked up; perturbed like a matrix
  vector,     // rows = length, cols = 1; perturbed by s z
};

struct TensorSpec {
  std::string name;
  TensorKind kind;
  uint32_t rows;
  uint32_t cols;
  size_t offset;  // of the first element in the arena, elements

  size_t size() const { return size_t{rows} * cols; }
};

// Elements of a pair's noise for a tensor; common/noise.hpp says what they are.
inline size_t noise_elements(const TensorSpec& tensor, int noise_rank) {
  return tensor.kind == TensorKind::vector
             ? 2 * size_t{tensor.rows}
             : static_cast<size_t>(noise_rank) * (size_t{tensor.rows} + tensor.cols);
}

class ParameterLayout {
 public:
  void add(std::string name, TensorKind kind, uint32_t rows, uint32_t cols);

  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  const TensorSpec& operator[](size_t index) const { return tensors_[index]; }
  size_t size() const { return size_; }          // elements of the whole arena
  size_t index_of(std::string_view name) const;  // throws Error where there is none

 private:
  std::vector<TensorSpec> tensors_;
  size_t size_ = 0;
};

// The integer recurrent language model EGG (arXiv 2511.16652, appendix G). Matrices first, then
// vectors: emb, head, layers.<i>.{Wf,Uf,Wh,Uh,W1,W2} for each i, layers.<i>.{bf,bh,ln1,ln2} for
// each i, ln_out.
inline constexpr uint32_t kVocabulary = 256;

struct IntRnnShape {
  uint32_t layers = 6;
  uint32_t width =
      256;  // a power of 4 from 64: every scale 1 / (16 sqrt(n)) is then an exact shift

  bool operator==(const IntRnnShape&) const = default;
};

ParameterLayout int_rnn_layout(const IntRnnShape& shape);

// Start values: matrices and embedding from the noise law at kInitialisationEpoch (standard
// deviation 16), biases 0, norm weights 16 (= 1.0).
std::vector<int8_t> int_rnn_initial_parameters(const IntRnnShape& shape, uint64_t seed);

}  // namespace eggroll
