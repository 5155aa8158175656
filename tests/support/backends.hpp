// The CPU backend with each instruction set that this machine has.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.hpp"

namespace eggroll::test {

inline const std::vector<std::string>& instruction_sets() {
  static const std::vector<std::string> sets = [] {
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vnni") &&
                        __builtin_cpu_supports("avx512vbmi");
    std::vector<std::string> here{"scalar"};
    const auto take = [&](const char* name, bool supported) {
      if (supported)
        here.push_back(name);
      else
        std::cout << "not tested, this machine lacks it: " << name << std::endl;
    };
    take("avx2", __builtin_cpu_supports("avx2"));
    take("avx512", avx512);
    return here;
  }();
  return sets;
}

inline std::unique_ptr<Backend> backend_on(const std::string& isa,
                                           const BackendSettings& settings) {
  setenv("EGGROLL_ISA", isa.c_str(), 1);
  std::unique_ptr<Backend> backend = make_backend("cpu", settings);
  unsetenv("EGGROLL_ISA");
  EXPECT_NE(backend->description().find(isa), std::string::npos) << backend->description();
  return backend;
}

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
