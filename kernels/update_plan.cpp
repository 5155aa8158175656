#include "kernels/update_plan.hpp"

#include "common/check.hpp"
#include "common/rules.hpp"

namespace eggroll {
namespace {

constexpr size_t kSmallestBucket = 16384;  // elements; smaller tensors travel together

}  // namespace

std::vector<UpdateBucket> plan_update(const ParameterLayout& layout) {
  std::vector<UpdateBucket> buckets;
  for (const TensorSpec& tensor : layout.tensors()) {
    if (!tensor.is_trained()) continue;
    if (!buckets.empty()) {
      UpdateBucket& last = buckets.back();
      const bool follows = last.noise == tensor.noise && last.element == tensor.element &&
                           last.at + last.size * bytes_of(last.element) == tensor.at;
      if (follows && (last.size < kSmallestBucket || tensor.size() < kSmallestBucket / 4)) {
        last.size += tensor.size();
        continue;
      }
    }
    buckets.push_back({tensor.offset, tensor.size(), tensor.at, tensor.noise, tensor.element});
  }
  std::ranges::stable_sort(
      buckets, [](const UpdateBucket& a, const UpdateBucket& b) { return a.size > b.size; });
  return buckets;
}

ActivePairs::ActivePairs(const Utilities& utilities) {
  const std::span<const int16_t> d = utilities.d;
  for (size_t j = 0; j < d.size(); ++j) {
    if (d[j] == 0) continue;
    all.push_back({static_cast<uint32_t>(utilities.first_pair + j), d[j]});
    largest = std::max<uint64_t>(largest, static_cast<uint64_t>(std::abs(int{d[j]})));
  }
  require(largest <= kLargestUtility, "utilities of five digits");
  const int count = planes_of(d);
  if (count > 1) digits.resize(static_cast<size_t>(count));
  for (int plane = 0; plane < count; ++plane) {
    if (count == 1) {
      planes.emplace_back(all);
      continue;
    }
    std::vector<ActivePair>& pairs = digits[static_cast<size_t>(plane)];
    for (const ActivePair& pair : all)
      if (const int8_t digit = digit_of(pair.d, plane); digit != 0)
        pairs.push_back({pair.pair, digit});
    planes.emplace_back(pairs);
  }
}

}  // namespace eggroll
