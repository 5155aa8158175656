// How the arena of a model is divided for the update: the same on every twin, so that ranks with
// different devices reduce the same buckets.
#pragma once

#include <cstdint>
#include <vector>

#include "common/noise.hpp"
#include "common/parameters.hpp"
#include "kernels/backend.hpp"

namespace eggroll {

// Pairs of noise rank 1 (terms) with |d A B| <= 2 * 63 * 63 whose sum stays below 2^31.
inline constexpr uint64_t kPairsWithin32Bits = 262144;
static_assert(kPairsWithin32Bits * 2 * kNoiseMax * kNoiseMax < (uint64_t{1} << 31));

struct UpdatePlan {
  std::vector<UpdateBucket> buckets;  // largest first: nothing long starts when the rest is done
  std::vector<bool> bucket_is_vectors;
};
// Large tensors alone, small ones of a kind together.
UpdatePlan plan_update(const ParameterLayout& layout);

}  // namespace eggroll
