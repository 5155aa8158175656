// What rank 0 sends at the start of a generation, and what it sends back once it has seen all
// fitness. Sent as bytes between identical builds.
#pragma once

#include <cstdint>
#include <type_traits>

namespace eggroll {

enum class GenerationAction : uint32_t { run, stop };

struct GenerationPlan {
  uint64_t generation = 0;
  uint64_t data_position = 0;  // in a sequence's slice
  uint32_t noise_epoch = 0;
  GenerationAction action = GenerationAction::run;
  bool write_checkpoint = false;  // before this generation (or before stopping)
  bool validate = false;
  bool compare_digests = false;
};
static_assert(std::is_trivially_copyable_v<GenerationPlan>);

// The shaped population, summed up: what the step needs besides Z.
struct ShapedSummary {
  uint64_t sum_squares = 0;     // sum_j d_j^2; 0: nothing to learn from, no update
  uint64_t sum_magnitudes = 0;  // sum_j |d_j|: bounds |Z|
  int64_t matrix_threshold = 0;
  int64_t vector_threshold = 0;
};
static_assert(std::is_trivially_copyable_v<ShapedSummary>);

}  // namespace eggroll
