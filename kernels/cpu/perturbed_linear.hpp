// The linear layer of a tile of members in fp32 or bf16, each member with weights of its own that
// are never formed (arXiv 2511.16652, section 4.2):
//
//   y[i] = x[i] W^T + s_i (sigma / sqrt(r)) (x[i] B_j) A_j^T     pair j of member i, s_i = +1 or -1
//
// Sums are fp32; y of a bf16 layer is rounded once. A [out, r] and B [in, r] are element / 16 of
// common/noise.hpp, of unit variance; the caller makes the int8 elements once for many tokens. One
// pass: a micro tile of the product has its perturbation added while it is in registers. Used by
// tests and `eggroll bench kernels`; like its twin kernels/cuda/perturbed_linear.hpp, which has the
// same noise in the same order, it is a layer of a float engine that does not exist yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace eggroll::cpu {

// T is float, or uint16_t: bf16 bit patterns. Sizes: rows >= 1 (members; an odd number: the last
// pair has its + member alone), `in` and `out` multiples of 64, noise_rank >= 1, noise_rank
// (in + out) <= 2^32. Rows have no gaps, and y and projection overlap nothing else.
template <typename T>
struct PerturbedLinearCall {
  const T* x = nullptr;       // [rows, in]
  const T* panels = nullptr;  // W [out, in] as pack_panels() has it
  size_t rows = 0;
  size_t in = 0;
  size_t out = 0;
  // Elements 0 ... r (in + out) - 1 of each pair, that is B and then A; pairs noise_stride apart.
  // Not read where sigma is 0.
  const int8_t* noise = nullptr;
  size_t noise_stride = 0;
  size_t noise_rank = 1;
  float sigma = 0;              // standard deviation of a perturbed weight: 0, or 2^-100 to 2^100
  float* projection = nullptr;  // scratch [rows, noise_rank]
  T* y = nullptr;               // [rows, out]
};

// The loops behind perturbed_linear(), which checks what they get, in one instruction set.
template <typename T>
struct FloatIsa {
  const char* name;
  // scale: sigma / (256 sqrt(r)), as elements of A and of B are sixteenths; 0: unperturbed.
  void (*linear)(const PerturbedLinearCall<T>& call, float scale);
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

// The widest that goes with choose_isa(), and so with EGGROLL_ISA (avxvnni and amx have no floats
// of their own: avx2, avx512). Throws ConfigError as that does.
template <typename T>
const FloatIsa<T>& choose_float_isa();

// W [out, in] to panels of 64 outputs x in, in bf16 two inputs together; the same for every
// instruction set. Throws Error where a size is not a multiple of 64.
template <typename T>
void pack_panels(const T* w, size_t out, size_t in, T* panels);

// The layer; with sigma 0 the unperturbed one, y = x W^T. Throws Error for sizes, strides or sigmas
// other than those above and for arrays that are missing, before anything is written.
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
// outputs of its member not finite, and no others. A member has the same bits in whatever tile it
// stands; instruction sets differ within the bound.
template <typename T>
void perturbed_linear(const FloatIsa<T>& isa, const PerturbedLinearCall<T>& call);

}  // namespace eggroll::cpu
