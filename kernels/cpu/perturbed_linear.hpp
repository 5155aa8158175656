// The linear layer of a batch of rows in fp32 or bf16, each row a member with weights of its own that
// are never formed (arXiv 2511.16652, section 4.2):
//
//   y[i] = x[i] W^T + s_i (sigma / sqrt(r)) (x[i] B_j) A_j^T     pair j of row i, s_i = +1 or -1
//
// Sums are fp32; y of a bf16 layer is rounded once. A [out, r] and B [in, r] are element / 16 of
// common/noise.hpp, of unit variance; the caller makes the int8 elements once for many tokens. One
// pass: a micro tile of the product has its perturbation added while it is in registers. The layer of
// kernels/float_layers.hpp, and of `eggroll bench kernels`; kernels/cuda/perturbed_linear.hpp is its
// twin in bf16.
//
// One order of operations, in which every multiplication is fused with an addition
// (kernels/cpu/fused.hpp):
//
//   projection   p_q = scale x . B_q, x filled up with zeros to a multiple of 16 (bf16: 32) inputs:
//                sixteen sums, of which sum l takes the inputs (bf16: pairs of inputs) l, l + 16, ...;
//                of each four of them, 4 h + k, the sum (0 + 2) + (1 + 3), and of these four likewise
//   y            0 + x_0 w_0 + x_1 w_1 + ... + p_0 a_0 + p_1 a_1 + ..., from the left
//
// So a row has the same bits in whatever batch and in every instruction set (but vdpbf16ps).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/cpu/isa.hpp"

namespace eggroll::cpu {

// The perturbation of a row.
struct NoisyRow {
  const int8_t* elements;  // of its pair, as common/noise.hpp has them: B, then A
  float scale;             // s sigma / (256 sqrt(r)), as elements of A and of B are sixteenths
};

// T is float, or uint16_t: bf16 bit patterns. Sizes: rows >= 1, in >= 1 (bf16: even), out >= 1,
// noise_rank >= 1, low_rank_elements() <= 2^32. Rows have no gaps, and y and projection overlap nothing
// else.
template <typename T>
struct PerturbedLinearCall {
  const T* x = nullptr;       // [rows, in]
  const T* panels = nullptr;  // W [out, in] as pack_panels() has it
  size_t rows = 0;
  size_t in = 0;
  size_t out = 0;
  // [rows]; nullptr: unperturbed. Fastest where rows 2 i and 2 i + 1 have the same elements.
  const NoisyRow* noise = nullptr;
  size_t noise_rank = 1;
  float* projection = nullptr;  // scratch [rows, noise_rank]; not used where there is no noise
  T* y = nullptr;               // [rows, out]
};

// The loops behind perturbed_linear(), which checks what they get, in one instruction set.
template <typename T>
struct FloatIsa {
  const char* name;
  void (*linear)(const PerturbedLinearCall<T>& call);
  // Independent product instructions on registers alone (in plain C++ and AVX2 the product itself,
  // in the nearest cache). Returns the operations it did.
  double (*product_loop)(uint64_t iterations);
};

template <typename T>
const FloatIsa<T>& float_isa_scalar();
template <typename T>
const FloatIsa<T>& float_isa_avx2();  // needs FMA too; bf16 is widened to fp32
template <typename T>
const FloatIsa<T>& float_isa_avx512();              // bf16 is widened to fp32
const FloatIsa<uint16_t>& float_isa_avx512_bf16();  // vdpbf16ps, which processors have or have not

// Those that this machine can run, the narrowest first.
template <typename T>
std::vector<const FloatIsa<T>*> float_isas_of_this_machine();

// The widest that goes with a table of integers (avxvnni and amx have no floats of their own: avx2,
// avx512).
template <typename T>
const FloatIsa<T>& float_isa_of(const Isa& isa);

// Elements of W [out, in] in panels.
inline size_t panel_elements(size_t out, size_t in) { return noise_run(out) * in; }
// W [out, in] to panels of 64 outputs x in, the last one filled up with zeros, in bf16 two inputs
// together; the same for every instruction set. Throws Error where a size is not allowed.
template <typename T>
void pack_panels(const T* w, size_t out, size_t in, T* panels);

// scale of a NoisyRow with s = 1. Throws Error where sigma is not 2^-100 to 2^100.
float perturbation_scale(float sigma, size_t noise_rank);

// The layer; without noise the unperturbed one, y = x W^T. Throws Error for sizes other than those
// above and for arrays that are missing, before anything is written.
//
// How far y may be from the layer in exact arithmetic. With u = 2^-24 and v = 2^-8, the round-off
// of fp32 and bf16, S = |x| |W|^T and T = (sigma / sqrt(r)) (|x| |B|) |A|^T, the sums over the
// sizes of their terms, let
//
//   e = (1 + v) (in + r + 4) u (S + T)   a term is rounded at most in + r + 4 times
//     + 2^-126 ((in + r + 1) (1 + 16 sigma sqrt(r)) + sum |x| + sum |W|)
//                                        numbers below 2^-126 may count as zero, as they do in
//                                        vdpbf16ps; sums over the inputs of a row and an output
//
// Then |error| <= e in fp32, and v |y| + (1 + v) e in bf16; for in + r <= 2^15 and S + T < 2^127.
// tests/support/perturbed_linear_oracle.hpp computes it. An input that is not finite makes the
// outputs of its row not finite, and no others.
template <typename T>
void perturbed_linear(const FloatIsa<T>& isa, const PerturbedLinearCall<T>& call);

}  // namespace eggroll::cpu
