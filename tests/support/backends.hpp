// The backends that a test program tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.hpp"

namespace eggroll::test {

// What is tested: "cpu scalar", "cpu avx2", ..., or "cuda". Which ones, is for the test program
// that is linked: support/cpu_backends.cpp or support/cuda_backends.cpp.
const std::vector<std::string>& backends();
std::unique_ptr<Backend> backend_on(const std::string& name, const BackendSettings& settings);

// Z of the whole arena, each element from the one bucket that holds it.
inline std::vector<int64_t> reconstructed(Backend& backend, uint32_t epoch,
                                          std::span<const int8_t> d, bool wide) {
  std::vector<size_t> ready;
  ReconstructionProgress progress;
  progress.bucket_ready = [&](size_t bucket) { ready.push_back(bucket); };
  progress.poll = [] {};
  backend.reconstruct(epoch, d, wide, progress);
  const std::vector<UpdateBucket>& buckets = backend.buckets();
  std::vector<int64_t> z(backend.layout().size(), 0);
  std::vector<int> covered(z.size(), 0);
  EXPECT_EQ(ready.size(), buckets.size());
  for (size_t b = 0; b < buckets.size(); ++b) {
    if (b < ready.size()) {
      EXPECT_EQ(ready[b], b);
    }
    const auto copy = [&](auto part) {
      ASSERT_EQ(part.size(), buckets[b].size);
      ASSERT_LE(buckets[b].offset + part.size(), z.size());
      for (size_t e = 0; e < part.size(); ++e) {
        z[buckets[b].offset + e] = part[e];
        ++covered[buckets[b].offset + e];
      }
    };
    wide ? copy(backend.wide_partial_update(b)) : copy(backend.partial_update(b));
  }
  EXPECT_EQ(covered, std::vector<int>(z.size(), 1)) << "buckets leave gaps or overlap";
  return z;
}

}  // namespace eggroll::test
