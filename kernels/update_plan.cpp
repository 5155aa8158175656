#include "kernels/update_plan.hpp"

#include <algorithm>
#include <numeric>

namespace eggroll {
namespace {

constexpr size_t kSmallestBucket = 16384;  // elements; smaller tensors travel together

}  // namespace

UpdatePlan plan_update(const ParameterLayout& layout) {
  std::vector<UpdateBucket> buckets;
  std::vector<bool> is_vectors;
  for (const TensorSpec& tensor : layout.tensors()) {
    const bool vector = tensor.kind == TensorKind::vector;
    if (!buckets.empty() && is_vectors.back() == vector &&
        (buckets.back().size < kSmallestBucket || tensor.size() < kSmallestBucket / 4)) {
      buckets.back().size += tensor.size();
      continue;
    }
    buckets.push_back({tensor.offset, tensor.size()});
    is_vectors.push_back(vector);
  }
  std::vector<size_t> order(buckets.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return buckets[a].size > buckets[b].size; });
  UpdatePlan plan;
  for (const size_t b : order) {
    plan.buckets.push_back(buckets[b]);
    plan.bucket_is_vectors.push_back(is_vectors[b]);
  }
  return plan;
}

}  // namespace eggroll
