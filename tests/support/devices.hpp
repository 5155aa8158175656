// The devices that a test program tests, and what tests ask of the engines on them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/device.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"

namespace eggroll::test {

// What is tested: "cpu scalar", "cpu avx2", ..., or "cuda". Which ones, is for the test program
// that is linked: support/cpu_devices.cpp or support/cuda_devices.cpp.
const std::vector<std::string>& devices();
std::unique_ptr<Device> device_on(const std::string& name, const DeviceSettings& settings = {});

// A whole arena of a learner, as numbers.
template <typename T>
std::vector<T> read_arena(Learner& learner, size_t arena) {
  std::vector<T> values(learner.arena_bytes(arena) / sizeof(T));
  learner.read(arena, std::as_writable_bytes(std::span(values)));
  return values;
}
template <typename T>
void write_arena(Learner& learner, size_t arena, const std::vector<T>& values) {
  learner.write(arena, std::as_bytes(std::span(values)));
}

// Z of all that is trained, each element from the one bucket that holds it.
inline std::vector<int64_t> reconstructed(Learner& learner, const Utilities& utilities, bool wide) {
  std::vector<size_t> ready;
  ReconstructionProgress progress;
  progress.bucket_ready = [&](size_t bucket) { ready.push_back(bucket); };
  progress.poll = [] {};
  learner.reconstruct(utilities, wide, progress);
  const std::vector<UpdateBucket>& buckets = learner.buckets();
  std::vector<int64_t> z(learner.layout().trained(), 0);
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
    wide ? copy(learner.wide_partial_update(b)) : copy(learner.partial_update(b));
  }
  EXPECT_EQ(covered, std::vector<int>(z.size(), 1)) << "buckets leave gaps or overlap";
  return z;
}

// A learner and the integer model that reads it, on one device.
struct Egg {
  Egg(const std::string& name, const IntRnnSettings& settings, int threads = 1,
      const char* optimizer = "sigma-delta")
      : device(device_on(name, {.threads = threads})),
        learner(device->make_learner({.layout = int_rnn_layout(settings.shape),
                                      .seed = settings.seed,
                                      .noise_rank = settings.noise_rank,
                                      .optimizer = optimizer})),
        model(device->make_int_rnn(settings, *learner)) {}

  std::unique_ptr<Device> device;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<IntRnn> model;
};

}  // namespace eggroll::test
