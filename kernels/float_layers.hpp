// FloatLayers: what float models are made of: layers over a batch of rows, each row a member with
// weights of its own that are never formed (arXiv 2511.16652, section 4.2),
//
//   y[i] = x[i] W^T + s_i (sigma / sqrt(r)) (x[i] B_j) A_j^T      pair j of row i, s_i = +1 or -1
//
// or, with full noise, weights of which each is formed when it is used. fp32, one order of operations
// on every instruction set, each multiplication fused with an addition: sums over inputs run from the
// first to the last, then come the perturbation's terms (kernels/cpu/perturbed_linear.hpp has the
// projection). So a member has the same bits in whatever batch and on whatever processor it stands.
// One thread calls; several threads have layers of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/layout.hpp"
#include "common/rules.hpp"

namespace eggroll {

struct FloatLayersSettings {
  uint64_t seed = 0;
  int noise_rank = 1;
};

// A row's perturbation.
struct RowNoise {
  uint32_t pair = 0;  // address of the noise
  float sign = 0;     // +1 or -1; 0: unperturbed

  bool operator==(const RowNoise&) const = default;
};

inline RowNoise noise_of_member(uint64_t member, Sampling sampling) {
  if (sampling == Sampling::independent) return {static_cast<uint32_t>(member), 1};
  return {static_cast<uint32_t>(member / 2), member % 2 == 0 ? 1.0f : -1.0f};
}

class FloatLayers {
 public:
  virtual ~FloatLayers() = default;

  // From now on rows have these perturbations of size sigma (0, or 2^-100 to 2^100), and the learner's
  // parameters as they are. Noise is made when a tensor is first used, once for rows that share a pair,
  // and kept while its pair is among the rows of one epoch: rows may leave and others come at each step
  // of an episode.
  virtual void begin(uint32_t noise_epoch, float sigma, std::span<const RowNoise> rows) = 0;

  // y [rows, out] = x [rows, in] times the members' W^T. tensor: index in the layout, a matrix, or an
  // embedding whose rows are the outputs.
  virtual void linear(size_t tensor, std::span<const float> x, std::span<float> y) = 0;
  // y [rows, cols]: row index[i] of the members' embedding.
  virtual void embed(size_t tensor, std::span<const uint32_t> index, std::span<float> y) = 0;
  // y [rows, length] += the members' vector.
  virtual void add_vector(size_t tensor, std::span<float> y) = 0;
  // add_vector() and then tanh(), in one pass.
  virtual void add_vector_and_tanh(size_t tensor, std::span<float> y) = 0;

  // Each element's hyperbolic tangent, within 5 units in the last place; NaN stays.
  virtual void tanh(std::span<float> y) = 0;
  // Each row of so many columns less its mean, divided by sqrt(variance + 1e-6) (layer normalisation
  // without parameters: Ba, Kiros, Hinton 2016).
  virtual void normalise(size_t cols, std::span<float> y) = 0;

  // The weights of one member, formed, [rows, cols] of the tensor: W + s sigma E, with
  // begin's epoch and sigma.
  virtual void materialise(size_t tensor, const RowNoise& row, std::span<float> to) = 0;
};

}  // namespace eggroll
