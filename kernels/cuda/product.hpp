// The product of activations and weights in bf16, by cublasLt; the tests' emulation has a loop in
// its place. A file of its own, because no other part of the kernels needs that library.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cuda/runtime.hpp"

namespace eggroll::cuda {

// y [members, out], x [members, in], w [out, in]: bf16, rows without gaps, on the device, at
// addresses that are multiples of 16; `in` and `out` are multiples of 8.
struct ProductCall {
  uint32_t members;
  uint32_t in;
  uint32_t out;
  const uint16_t* x;
  const uint16_t* w;
  uint16_t* y;
};

enum class Existing { replace, add };  // what becomes of what y held

// Of the device that was chosen at construction; one call at a time.
class Product {
 public:
  Product();
  ~Product();
  Product(Product&&) noexcept;
  Product& operator=(Product&&) noexcept;

  // y = x w^T, or y += x w^T: added up in fp32, what y held too, and rounded to bf16 once. Enqueued
  // on `stream`. Throws Error where cublasLt has no way for the shape or will not start.
  void multiply(const ProductCall& call, Existing existing, const Stream& stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace eggroll::cuda
