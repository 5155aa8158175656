// The linear layer of a tile of members in bf16, each member with weights of its own that are never
// formed (arXiv 2511.16652, section 4.2):
//
//   y[i] = x[i] W^T + s_i (sigma / sqrt(r)) (x[i] B_j) A_j^T     pair j of member i, s_i = +1 or -1
//
// A [out, r] and B [in, r] are made from their address where they are needed and stored nowhere:
// element / 16 of common/noise.hpp, in the order stated there, of unit variance. Two launches: the
// perturbation goes into y as bf16, then cublasLt adds the product to it. So y is read while the
// product is made instead of in a pass of its own, and the sum is rounded once.
#pragma once

#include <cstdint>

#include "common/noise.hpp"
#include "kernels/cuda/product.hpp"
#include "kernels/cuda/runtime.hpp"

namespace eggroll::cuda {

inline constexpr uint32_t kMostNoiseTerms = 8192;  // r: projections of a pair in shared memory

// Sizes: members >= 1 (an odd number: the last pair has its + member alone), `in` and `out`
// multiples of 8, 1 <= noise_rank <= kMostNoiseTerms, noise_rank (in + out) <= 2^32. Arrays are
// those of ProductCall: bf16 bit patterns on the device, rows without gaps, 16-byte addresses; y
// overlaps neither x nor w.
struct PerturbedLinearCall {
  ProductCall product;
  NoiseAddress noise;  // of the tensor, and of the pair of members 0 and 1; pairs are consecutive
  uint32_t noise_rank = 1;
  float sigma = 0;  // standard deviation of a perturbed weight
};

// How far y may be from the layer in exact arithmetic. With u = 2^-24 and v = 2^-8, the round-off
// of fp32 and bf16, and |x| |W|^T the sum over the sizes of its terms:
//
//   v |y| + v |z|                     one rounding of y, one of the perturbation z
//   + 4 (in + 2) u (|x| |W|^T + |z|)  tensor cores cut off where they add, and align products to
//                                     the largest of a few: four times the bound of plain fp32
//   + (in / 256 + r + 32) u (sigma / sqrt(r)) (|x| |B|) |A|^T    fp32 sums: 256 threads, r terms
//
// times 1 + 2 v for products of errors, and two of the smallest bf16, 2^-133, for results below the
// normal range. An input that is not finite makes the outputs of its member not finite.
// tests/support/perturbed_linear_oracle.hpp computes it. The same call gives the same perturbation,
// bit for bit, in whatever tile a pair stands; cublasLt promises as much for a shape.
class PerturbedLinear {
 public:
  PerturbedLinear();  // for the device that is chosen; throws Error where it does not start

  // Enqueues y on `stream`; one call at a time. Throws Error for sizes or addresses other than
  // those above, before anything is enqueued.
  void forward(const PerturbedLinearCall& call, const Stream& stream);

  // y = x W^T: the layer of the mean parameters, and what forward() is measured against.
  void forward_unperturbed(const ProductCall& call, const Stream& stream);

 private:
  Product product_;
  uint32_t multiprocessors_ = 0;
};

}  // namespace eggroll::cuda
