// The parameters of a model: named tensors in one arena, in one fixed order, and how each of them is
// perturbed. A tensor's index is also its address in the noise and its place in the update, so the
// layout is part of a run's identity: its text stands in each checkpoint, and ranks agree on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace eggroll {

enum class Element : uint8_t { int8, int32, int64, float32 };

constexpr size_t bytes_of(Element element) {
  return element == Element::int8 ? 1 : element == Element::int64 ? 8 : 4;
}
std::string_view name_of(Element element);

enum class Role : uint8_t {
  matrix,     // rows = out, cols = in
  embedding,  // rows = vocabulary, cols = width; a row is looked up
  vector,     // rows = length, cols = 1
};
std::string_view name_of(Role role);

// What a pair adds to a tensor, E; common/noise.hpp has its elements.
enum class Noise : uint8_t {
  low_rank,  // A B^T / sqrt(r)
  product,   // z_i = e_i e_(n + i), in integers: the vectors of integer models
  full,      // z_i = e_i, each weight its own
  none,      // frozen: no sum and no step, but stored
};
std::string_view name_of(Noise noise);
inline constexpr size_t kNoiseKinds = 3;  // that move a tensor: low_rank, product, full

struct TensorSpec {
  std::string name;
  Role role;
  Noise noise;
  Element element;
  uint32_t rows;
  uint32_t cols;
  size_t at;      // of the first element in the arena of the parameters, bytes
  size_t offset;  // of the first element among those that are trained; frozen: of the next one's

  size_t size() const { return size_t{rows} * cols; }
  size_t bytes() const { return size() * bytes_of(element); }
  bool is_trained() const { return noise != Noise::none; }
};

// Elements up to where the next run may begin.
constexpr size_t noise_run(size_t elements) { return (elements + 63) / 64 * 64; }

// Elements of B and then A, of a pair and a matrix [out, in].
constexpr size_t low_rank_elements(size_t in, size_t out, size_t noise_rank) {
  return noise_rank * (noise_run(in) + noise_run(out));
}

// Elements of a pair's noise for a tensor; 0 where it is frozen.
inline size_t noise_elements(const TensorSpec& tensor, int noise_rank) {
  switch (tensor.noise) {
    case Noise::low_rank:
      return low_rank_elements(tensor.cols, tensor.rows, static_cast<size_t>(noise_rank));
    case Noise::product:
      return 2 * noise_run(tensor.size());
    case Noise::full:
      return noise_run(tensor.size());
    case Noise::none:
      return 0;
  }
  return 0;
}

class ParameterLayout {
 public:
  static constexpr size_t kMaxTensors = 4096;
  static constexpr size_t kMaxNameBytes = 100;
  static constexpr size_t kMaxElements = size_t{1} << 40;  // of a tensor

  // Throws Error where there is a tensor of that name, a size is 0 or its noise has no addresses (2^32
  // of them a pair), or a limit is passed. A name is of letters, digits and . _ -, the first of
  // them none of . and -, so that it stands in texts and files as it is.
  void add(std::string name, Role role, Noise noise, Element element, uint32_t rows, uint32_t cols);

  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  const TensorSpec& operator[](size_t index) const { return tensors_[index]; }
  size_t size() const { return size_; }          // elements of all tensors
  size_t trained() const { return trained_; }    // elements of those that are not frozen
  size_t bytes() const { return bytes_; }        // of the arena
  size_t index_of(std::string_view name) const;  // throws Error where there is none

  // A line for each tensor: name, role, noise, element, rows, cols.
  std::string text() const;
  // Throws Error where a line is none of text(), with its number.
  static ParameterLayout parse(std::string_view text);

 private:
  std::vector<TensorSpec> tensors_;
  size_t size_ = 0, trained_ = 0, bytes_ = 0;
};

}  // namespace eggroll
