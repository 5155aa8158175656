// The product by cublasLt. Its matrices are column by column, so it is asked for the transposed
// y^T [out, members] = w x^T, in which all three arrays stand as they are.
#include <cublasLt.h>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "common/check.hpp"
#include "kernels/cuda/product.hpp"

namespace eggroll::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what cuBLAS recommends for Hopper
constexpr uint32_t kAlignment = 16;                   // of the contract; cublasLt assumes 256

void check_cublas(cublasStatus_t code, const char* call) {
  if (code == CUBLAS_STATUS_SUCCESS) return;
  throw Error(std::string(call) + ": " + cublasLtGetStatusString(code) + " (" +
              cublasLtGetStatusName(code) + ")");
}
#define CUBLAS_CHECK(call) check_cublas((call), #call)

template <auto destroy>
struct Destroy {
  template <typename T>
  void operator()(T* what) const {
    destroy(what);
  }
};
template <typename Handle, auto destroy>
using Owner = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<destroy>>;
using Operation = Owner<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owner<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owner<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;
using Library = Owner<cublasLtHandle_t, cublasLtDestroy>;

Library start_library() {
  cublasLtHandle_t handle = nullptr;
  CUBLAS_CHECK(cublasLtCreate(&handle));
  return Library(handle);
}

Operation make_operation() {
  cublasLtMatmulDesc_t description = nullptr;
  CUBLAS_CHECK(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  Operation operation(description);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                              sizeof transposed));
  return operation;
}

// Columns without gaps.
Layout make_layout(uint32_t rows, uint32_t columns) {
  cublasLtMatrixLayout_t layout = nullptr;
  CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout, CUDA_R_16BF, rows, columns, rows));
  return Layout(layout);
}

template <typename T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  CUBLAS_CHECK(
      cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value));
}

Preference make_preference() {
  cublasLtMatmulPreference_t created = nullptr;
  CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&created));
  Preference preference(created);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
  for (const auto array :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    set(preference, array, kAlignment);
  // Parts of a sum may meet in fp32 alone: in bf16 they would be rounded more than once.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  return preference;
}

// How a shape is computed: chosen once, so that the same shape always gives the same bits.
struct Plan {
  uint32_t members, in, out;
  Existing existing;
  Layout w, x, y;
  cublasLtMatmulAlgo_t algorithm;
};

}  // namespace

struct Product::State {
  Library library = start_library();
  Operation operation = make_operation();
  DeviceBuffer<unsigned char> workspace{kWorkspaceBytes};
  std::vector<Plan> plans;

  const Plan& plan_for(const ProductCall& c, Existing existing) {
    const auto known = std::find_if(plans.begin(), plans.end(), [&](const Plan& p) {
      return p.members == c.members && p.in == c.in && p.out == c.out && p.existing == existing;
    });
    if (known != plans.end()) return *known;
    Plan plan = {c.members,
                 c.in,
                 c.out,
                 existing,
                 make_layout(c.in, c.out),
                 make_layout(c.in, c.members),
                 make_layout(c.out, c.members),
                 {}};
    const Preference preference = make_preference();
    cublasLtMatmulHeuristicResult_t best = {};
    int found = 0;
    const cublasStatus_t code = cublasLtMatmulAlgoGetHeuristic(
        library.get(), operation.get(), plan.w.get(), plan.x.get(), plan.y.get(), plan.y.get(),
        preference.get(), 1, &best, &found);
    if (code == CUBLAS_STATUS_NOT_SUPPORTED || (code == CUBLAS_STATUS_SUCCESS && found == 0))
      throw Error("cublasLt has no way to multiply " + std::to_string(c.members) + " x " +
                  std::to_string(c.in) + " by " + std::to_string(c.in) + " x " +
                  std::to_string(c.out) + " in bf16 on this device");
    check_cublas(code, "cublasLtMatmulAlgoGetHeuristic");
    plan.algorithm = best.algo;
    plans.push_back(std::move(plan));
    return plans.back();
  }
};

Product::Product() : state_(std::make_unique<State>()) {}
Product::~Product() = default;
Product::Product(Product&&) noexcept = default;
Product& Product::operator=(Product&&) noexcept = default;

void Product::multiply(const ProductCall& call, Existing existing, const Stream& stream) {
  State& s = *state_;
  const Plan& plan = s.plan_for(call, existing);
  const float one = 1, factor_of_y = existing == Existing::add ? 1.0f : 0.0f;
  CUBLAS_CHECK(cublasLtMatmul(s.library.get(), s.operation.get(), &one, call.w, plan.w.get(),
                              call.x, plan.x.get(), &factor_of_y, call.y, plan.y.get(), call.y,
                              plan.y.get(), &plan.algorithm, s.workspace.data(), kWorkspaceBytes,
                              stream));
}

}  // namespace eggroll::cuda
