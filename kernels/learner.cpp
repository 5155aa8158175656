#include "kernels/learner.hpp"

#include "common/check.hpp"
#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/optimizers.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll {

void Learner::reconstruct_and_step(const Utilities& utilities, const StepNumbers& numbers) {
  reconstruct(utilities, /*wide=*/false, {.bucket_ready = [](size_t) {}, .poll = [] {}});
  for (size_t bucket = 0; bucket < buckets().size(); ++bucket)
    step(bucket, numbers, /*wide=*/false);
}

void check_addition(const ParameterLayout& layout, size_t tensor, std::span<const int64_t> values) {
  require(tensor < layout.tensors().size() && layout[tensor].element == Element::int64 &&
              !layout[tensor].is_trained() && values.size() == layout[tensor].size(),
          "as many numbers as a frozen tensor of int64 has");
}

void check(const LearnerSettings& settings) {
  require(
      settings.noise_rank >= 1 && static_cast<uint64_t>(settings.noise_rank) <= kPairsWithin32Bits,
      "a noise rank of at least 1, whose sum for a pair fits 32 bits");
  const OptimizerType& optimizer = optimizer_type(settings.optimizer);
  for (const TensorSpec& tensor : settings.layout.tensors()) {
    require(!tensor.is_trained() || tensor.element == optimizer.moves,
            "an optimiser that moves the elements of every trained tensor");
    if (noise_elements(tensor, settings.noise_rank) >= uint64_t{1} << 32)
      throw ConfigError("noise-rank = " + std::to_string(settings.noise_rank) + ": tensor " +
                        tensor.name + " would have 2^32 elements of noise a pair or more");
  }
}

}  // namespace eggroll
