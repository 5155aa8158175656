#include "coordinator/bench/population_update.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/optimizers/optimizer.hpp"

namespace eggroll::bench {
namespace {

constexpr uint64_t kSeed = 5;
constexpr uint64_t kBatchPairs = 48;

ParameterLayout layout_of(const MatrixShape& shape) {
  ParameterLayout layout;
  layout.add("matrix", Role::matrix, shape.noise_rank ? Noise::low_rank : Noise::full,
             Element::float32, shape.rows, shape.cols);
  return layout;
}

}  // namespace

PopulationUpdate::PopulationUpdate(Device& device, const MatrixShape& shape,
                                   std::span<const float> weights)
    : shape_(shape),
      learner_(device.make_learner({.layout = layout_of(shape),
                                    .seed = kSeed,
                                    .noise_rank = shape.noise_rank.value_or(1),
                                    .optimizer = "sgd"})),
      layers_(device.make_float_layers({kSeed, shape.noise_rank.value_or(1)}, *learner_)) {
  learner_->write(0, std::as_bytes(weights));
}

std::vector<double> PopulationUpdate::mean(uint64_t first_pair, uint64_t pairs, float sigma,
                                           std::span<const float> inputs, const Utility& utility) {
  const size_t rows = shape_.rows, cols = shape_.cols, count = inputs.size() / cols;
  std::vector<double> utilities;
  for (uint64_t first = 0; first < pairs; first += kBatchPairs) {
    std::vector<RowNoise> members;
    for (uint64_t pair = first; pair < std::min(first + kBatchPairs, pairs); ++pair)
      for (const float sign : {1.0f, -1.0f})
        members.push_back({static_cast<uint32_t>(first_pair + pair), sign});
    layers_->begin(0, sigma, members);
    std::vector<float> x(members.size() * cols), y(members.size() * rows);
    std::vector<float> outputs(members.size() * count * rows);  // [members, inputs, rows]
    for (size_t k = 0; k < count; ++k) {
      for (size_t i = 0; i < members.size(); ++i)
        std::copy_n(inputs.data() + k * cols, cols, x.data() + i * cols);
      layers_->linear(0, x, y);
      for (size_t i = 0; i < members.size(); ++i)
        std::copy_n(y.data() + i * rows, rows, outputs.data() + (i * count + k) * rows);
    }
    const auto of_member = [&](size_t i) {
      return std::span<const float>(outputs).subspan(i * count * rows, count * rows);
    };
    for (size_t i = 0; i < members.size(); i += 2)
      utilities.push_back(utility(of_member(i), of_member(i + 1)));
  }
  double largest = 0;
  for (const double each : utilities) largest = std::max(largest, std::abs(each));
  const double unit = largest > 0 ? largest / kLargestUtility : 1;
  std::vector<int16_t> d;
  for (const double each : utilities) d.push_back(static_cast<int16_t>(std::lround(each / unit)));
  learner_->reconstruct({.noise_epoch = 0, .first_pair = first_pair, .d = d}, /*wide=*/true,
                        {.bucket_ready = [](size_t) {}, .poll = [] {}});
  const double scale = gradient_scale({.population = pairs,
                                       .unit = unit,
                                       .noise = shape_.noise_rank ? Noise::low_rank : Noise::full,
                                       .noise_rank = shape_.noise_rank.value_or(1)});
  std::vector<double> mean;
  for (const int64_t z : learner_->wide_partial_update(0))
    mean.push_back(static_cast<double>(z) * scale);
  return mean;
}

}  // namespace eggroll::bench
