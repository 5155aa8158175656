// The update of a population whose members are one perturbed matrix, through the layers and the
// sums that training uses: what `bench theory` experiments with.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/device.hpp"
#include "kernels/float_layers.hpp"
#include "kernels/learner.hpp"

namespace eggroll::bench {

struct MatrixShape {
  uint32_t rows, cols;
  std::optional<int> noise_rank;  // none: a number of noise for each weight
};

class PopulationUpdate {
 public:
  PopulationUpdate(Device& device, const MatrixShape& shape, std::span<const float> weights);

  // What a pair counts, from the outputs of its two members for all inputs, [inputs, rows].
  using Utility = std::function<double(std::span<const float> plus, std::span<const float> minus)>;

  // The mean of utility times E over pairs first_pair, ..., [rows, cols]. inputs: [count, cols].
  std::vector<double> mean(uint64_t first_pair, uint64_t pairs, float sigma,
                           std::span<const float> inputs, const Utility& utility);

  FloatLayers& layers() { return *layers_; }

 private:
  const MatrixShape shape_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<FloatLayers> layers_;
};

}  // namespace eggroll::bench
