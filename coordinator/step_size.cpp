#include "coordinator/step_size.hpp"

#include <algorithm>
#include <cmath>

namespace eggroll {

double alpha_at(const RunConfig& config, uint64_t generation) {
  if (config.alpha <= 1) return config.alpha;
  const double decay = config.alpha_decay.generations(config.generations);
  return 1.0 / ((std::exp2(config.alpha) - 1.0) * static_cast<double>(generation) / decay + 1.0);
}

int64_t normal_quantile_16(double alpha) {
  // The largest q with P(|N(0, 1)| >= q / 16) >= alpha.
  int64_t q = 0;
  while (std::erfc(static_cast<double>(q + 1) / 16.0 / std::sqrt(2.0)) >= alpha) ++q;
  return q;
}

int64_t noise_deviation(uint64_t sum_squares, uint64_t terms) {
  const uint64_t square = 65536 * terms * sum_squares;
  auto root = static_cast<uint64_t>(std::sqrt(static_cast<double>(square)));
  while (root * root > square) --root;
  while ((root + 1) * (root + 1) <= square) ++root;
  return static_cast<int64_t>(root);
}

int64_t step_threshold(const RunConfig& config, uint64_t generation, uint64_t sum_squares,
                       uint64_t terms) {
  const double alpha = alpha_at(config, generation);
  const int64_t deviation = noise_deviation(sum_squares, terms);
  if (config.update == UpdateRule::threshold)
    return (normal_quantile_16(alpha) * deviation + 15) / 16;
  return static_cast<int64_t>(
      std::clamp(config.threshold_factor / std::sqrt(alpha) * static_cast<double>(deviation), 1.0,
                 kLargestThreshold));
}

}  // namespace eggroll
