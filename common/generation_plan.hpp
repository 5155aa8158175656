// What rank 0 sends at the start of a generation, and what it sends back once it has seen all fitness.
// Sent as bytes between identical builds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/layout.hpp"

namespace eggroll {

// pause: no generation, the next plan follows.
enum class GenerationAction : uint32_t { run, pause, stop };

struct GenerationPlan {
  uint64_t generation = 0;
  double sigma = 0;  // Task::sigma
  uint32_t noise_epoch = 0;
  GenerationAction action = GenerationAction::run;
  bool write_checkpoint = false;  // before this generation (or before stopping)
  bool validate = false;
  bool compare_digests = false;
};
static_assert(std::is_trivially_copyable_v<GenerationPlan>);

// What an optimiser needs beside Z, for each kind of noise: its Numbers (kernels/optimizers.hpp), as
// bytes. Computed by rank 0 alone, so that no rank trusts its own maths library.
class StepNumbers {
 public:
  template <typename Numbers>
  void put(Noise noise, const Numbers& numbers) {
    static_assert(std::is_trivially_copyable_v<Numbers> && sizeof(Numbers) <= kBytes);
    std::memcpy(of_[static_cast<size_t>(noise)].data(), &numbers, sizeof numbers);
  }
  template <typename Numbers>
  Numbers get(Noise noise) const {
    static_assert(std::is_trivially_copyable_v<Numbers> && sizeof(Numbers) <= kBytes);
    Numbers numbers;
    std::memcpy(&numbers, of_[static_cast<size_t>(noise)].data(), sizeof numbers);
    return numbers;
  }
  bool operator==(const StepNumbers&) const = default;

 private:
  static constexpr size_t kBytes = 64;
  std::array<std::array<std::byte, kBytes>, kNoiseKinds> of_{};
};

// The shaped population, summed up.
struct ShapedSummary {
  uint64_t sum_squares = 0;     // sum_j d_j^2; 0: nothing to learn from
  uint64_t sum_magnitudes = 0;  // sum_j |d_j|: bounds |Z|
  double unit = 1;              // of utility, that d_j = 1 stands for
  StepNumbers numbers = {};
};
static_assert(std::is_trivially_copyable_v<ShapedSummary>);

}  // namespace eggroll
