// What kernels use of the machine beyond C++: the int8 product of the tensor cores, packing with
// saturation or rounding, moves of bytes, and the dynamic shared memory of a block (kernels use no
// other). A fragment is what one lane of a warp holds of a small matrix; g = lane / 4, t = lane % 4
// (PTX ISA, "Matrix Fragments for mma.m16n8k32").
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace eggroll::cuda {

template <typename T>
__device__ inline T* shared_memory() {
  extern __shared__ __align__(16) unsigned char eggroll_shared[];
  return reinterpret_cast<T*>(eggroll_shared);
}

// Four numbers as bytes, the first one lowest, each at most 127 and at least -128.
__device__ inline uint32_t saturated_bytes(int32_t v0, int32_t v1, int32_t v2, int32_t v3) {
  uint32_t upper, all;
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, 0;" : "=r"(upper) : "r"(v3), "r"(v2));
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;" : "=r"(all) : "r"(v1), "r"(v0), "r"(upper));
  return all;
}

// The product of two words: the lower 32 bits in .x, the upper ones in .y, by one instruction
// (written in C++, the compiler adds one that takes the halves apart).
__device__ inline uint2 wide_product(uint32_t a, uint32_t b) {
  uint2 product;
  asm("{\n\t.reg .b64 wide;\n\tmul.wide.u32 wide, %2, %3;\n\tmov.b64 {%0, %1}, wide;\n\t}"
      : "=r"(product.x), "=r"(product.y)
      : "r"(a), "r"(b));
  return product;
}

// `word` with byte k of `from` in place of its second lowest.
__device__ inline uint32_t with_second_byte(uint32_t word, uint32_t from, int k) {
  return __byte_perm(word, from, 0x3200u | (4u + static_cast<unsigned>(k)) << 4);
}

// Two numbers rounded to bf16, to nearest and ties to even, the first one in the lower half.
__device__ inline uint32_t packed_bf16(float low, float high) {
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

// C (16 x 8, int32) += A (16 x 32, int8) B (32 x 8, int8).
//   a[0]: row g, columns 4 t ... 4 t + 3     a[1]: row g + 8, the same
//   a[2]: row g, columns 16 + 4 t ...        a[3]: row g + 8, the same
//   b0: rows 4 t ... of column g             b1: rows 16 + 4 t ... of column g
//   c[0], c[1]: row g, columns 2 t, 2 t + 1  c[2], c[3]: row g + 8, the same
__device__ inline void multiply_accumulate(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                           uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace eggroll::cuda
