#include <cublasLt.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/tensor_core.cuh"
#include "tests/gpu_check/ceilings.hpp"

namespace eggroll::gpu_check {
namespace {

using cuda::DeviceBuffer;
using cuda::Stream;

void check_cublas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(std::string(call) + ": " + cublasLtGetStatusString(status));
}
#define CUBLAS_CHECK(call) check_cublas((call), #call)

// C = A^T B, all n x n with columns one after another, as cuBLASLt likes int8 best.
struct Product {
  Product(int n, cudaDataType_t element, cudaDataType_t result, cublasComputeType_t compute,
          cudaDataType_t scale)
      : n(n) {
    CUBLAS_CHECK(cublasLtCreate(&handle));
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&operation, compute, scale));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                                sizeof transposed));
    for (cublasLtMatrixLayout_t* layout : {&a, &b})
      CUBLAS_CHECK(cublasLtMatrixLayoutCreate(layout, element, n, n, n));
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&c, result, n, n, n));
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    const size_t bytes = workspace.size();
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes));
    int found = 0;
    CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle, operation, a, b, c, c, preference, 1,
                                                &algorithm, &found));
    if (found == 0) throw Error("cuBLASLt knows no way to multiply these matrices");
  }
  ~Product() {
    cublasLtMatmulPreferenceDestroy(preference);
    for (cublasLtMatrixLayout_t layout : {a, b, c}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(operation);
    cublasLtDestroy(handle);
  }
  Product(const Product&) = delete;

  void operator()(const void* one, const void* zero, const void* x, const void* y, void* z,
                  const Stream& stream) {
    CUBLAS_CHECK(cublasLtMatmul(handle, operation, one, x, a, y, b, zero, z, c, z, c,
                                &algorithm.algo, workspace.data(), workspace.size(), stream));
  }
  double operations() const { return 2.0 * n * n * n; }

  int n;
  DeviceBuffer<int8_t> workspace{size_t{64} << 20};
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulHeuristicResult_t algorithm = {};
};

template <typename T>
DeviceBuffer<T> random_matrix(int n, const Stream& stream) {
  std::mt19937 random(7);
  std::vector<T> values(size_t{1} << 20);
  for (T& value : values) {
    if constexpr (sizeof(T) == 1)
      value = static_cast<T>(random() % 255) - 127;
    else
      value = static_cast<T>(random() % 256 | 0x3f00 | (random() % 2 << 15));  // bf16, 0.5 to 2
  }
  DeviceBuffer<T> matrix(static_cast<size_t>(n) * static_cast<size_t>(n));
  for (size_t at = 0; at < matrix.size(); at += values.size())
    cuda::copy_to_device(
        matrix.data() + at,
        std::span<const T>(values).first(std::min(values.size(), matrix.size() - at)), stream);
  stream.synchronize();
  return matrix;
}

template <typename Element, typename Result, typename Scale>
double product_ops_per_s(int n, cudaDataType_t element, cudaDataType_t result,
                         cublasComputeType_t compute, cudaDataType_t scale) {
  const Stream stream;
  Product product(n, element, result, compute, scale);
  const DeviceBuffer<Element> x = random_matrix<Element>(n, stream),
                              y = random_matrix<Element>(n, stream);
  DeviceBuffer<Result> z(x.size());
  const Scale one = 1, zero = 0;
  return product.operations() / seconds_of(stream, 21, [&] {
           product(&one, &zero, x.data(), y.data(), z.data(), stream);
         });
}

// Eight independent products a warp, again and again.
__global__ void multiply_on_registers(int repeats, int32_t* out) {
  int32_t c[8][4] = {};
  const uint32_t a[4] = {threadIdx.x, threadIdx.x * 3, threadIdx.x * 5, threadIdx.x * 7};
  for (int i = 0; i < repeats; ++i)
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) cuda::multiply_accumulate(c[j], a, threadIdx.x + j, j);
  int32_t sum = 0;
#pragma unroll
  for (int j = 0; j < 8; ++j) sum += c[j][0] + c[j][1] + c[j][2] + c[j][3];
  if (sum == 123456789) *out = sum;  // nearly never, but the compiler cannot know
}

}  // namespace

double seconds_of(const Stream& stream, int repeats, const std::function<void()>& call) {
  const cuda::Event begin(cudaEventDefault), end(cudaEventDefault);
  for (int i = 0; i < 3; ++i) call();
  std::vector<float> milliseconds;
  for (int i = 0; i < repeats; ++i) {
    begin.record(stream);
    call();
    end.record(stream);
    CUDA_CHECK(cudaEventSynchronize(end));
    float passed = 0;
    CUDA_CHECK(cudaEventElapsedTime(&passed, begin, end));
    milliseconds.push_back(passed);
  }
  std::ranges::nth_element(milliseconds, milliseconds.begin() + repeats / 2);
  return milliseconds[static_cast<size_t>(repeats / 2)] / 1000.0;
}

double copy_bytes_per_s() {
  const size_t bytes = size_t{2} << 30;
  const Stream stream;
  DeviceBuffer<int8_t> from(bytes), to(bytes);
  return 2.0 * static_cast<double>(bytes) / seconds_of(stream, 11, [&] {
           CUDA_CHECK(
               cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream));
         });
}

double int8_product_ops_per_s(int n) {
  return product_ops_per_s<int8_t, int32_t, int32_t>(n, CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I,
                                                     CUDA_R_32I);
}

double bf16_product_ops_per_s(int n) {
  return product_ops_per_s<uint16_t, uint16_t, float>(n, CUDA_R_16BF, CUDA_R_16BF,
                                                      CUBLAS_COMPUTE_32F, CUDA_R_32F);
}

double int8_instruction_ops_per_s() {
  const Stream stream;
  int device = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  DeviceBuffer<int32_t> out(1);
  const int repeats = 2000, blocks = 2 * properties.multiProcessorCount, warps = 8;
  const double operations = 8.0 * repeats * blocks * warps * 2 * 16 * 8 * 32;
  return operations / seconds_of(stream, 11, [&] {
           cuda::launch(multiply_on_registers, {dim3(static_cast<unsigned>(blocks)), 32 * warps},
                        stream, repeats, out.data());
         });
}

}  // namespace eggroll::gpu_check
