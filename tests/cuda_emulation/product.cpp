// Stands in for kernels/cuda/product_cublas.cu: the same contract by plain loops.
#include "kernels/cuda/product.hpp"

#include "kernels/bfloat16.hpp"

namespace eggroll::cuda {

struct Product::State {};

Product::Product() = default;
Product::~Product() = default;
Product::Product(Product&&) noexcept = default;
Product& Product::operator=(Product&&) noexcept = default;

void Product::multiply(const ProductCall& c, Existing existing, const Stream&) {
  for (size_t i = 0; i < c.members; ++i)
    for (size_t o = 0; o < c.out; ++o) {
      uint16_t& y = c.y[i * c.out + o];
      float sum = existing == Existing::add ? float_of_bf16(y) : 0.0f;
      for (size_t k = 0; k < c.in; ++k)
        sum += float_of_bf16(c.x[i * c.in + k]) * float_of_bf16(c.w[o * c.in + k]);
      y = bf16_of_float(sum);
    }
}

}  // namespace eggroll::cuda
