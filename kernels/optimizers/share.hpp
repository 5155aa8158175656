// Which share of the integer weights moves by chance: the step size of the rules that move weights by
// whole numbers, and the thresholds of Z that go with it.
#pragma once

#include "kernels/optimizers/optimizer.hpp"

namespace eggroll {

struct ShareSettings {
  double alpha = 4;
  GenerationSpan alpha_decay = {};

  void declare(Options& to) {
    to.number(
        "alpha", alpha, 1e-6, 16,
        "share of weights that move by chance: up to 1 a constant, above it the exponent of a "
        "share that falls from 1");
    add_span(to, "alpha-decay", alpha_decay,
             "pace at which alpha falls, in generations or in percent of the planned ones");
  }

  // alpha_t = 1 / ((2^a - 1) t / decay + 1) for a = alpha > 1; constant a for a <= 1.
  double at(uint64_t generation, uint64_t planned) const {
    if (alpha <= 1) return alpha;
    return 1.0 / ((std::exp2(alpha) - 1.0) * static_cast<double>(generation) /
                      alpha_decay.generations(planned) +
                  1.0);
  }
};

// floor(16 PhiInv(1 - alpha / 2)): the two-sided normal quantile with 4 fractional bits.
inline int64_t normal_quantile_16(double alpha) {
  // The largest q with P(|N(0, 1)| >= q / 16) >= alpha.
  int64_t q = 0;
  while (std::erfc(static_cast<double>(q + 1) / 16.0 / std::sqrt(2.0)) >= alpha) ++q;
  return q;
}

// s = isqrt(65536 terms sum_j d_j^2): the standard deviation of an element of Z under no signal.
inline int64_t noise_deviation(uint64_t sum_squares, uint64_t terms) {
  const auto square = static_cast<unsigned __int128>(65536 * terms) * sum_squares;
  auto root = static_cast<unsigned __int128>(std::sqrt(static_cast<double>(square)));
  while (root * root > square) --root;
  while ((root + 1) * (root + 1) <= square) ++root;
  return static_cast<int64_t>(root);
}

// Terms that an element of Z sums for each pair, each of variance 65536; of full noise 256.
inline uint64_t terms_of(const StepContext& context) {
  return context.noise == Noise::low_rank ? static_cast<uint64_t>(context.noise_rank) : 1;
}

// For check: noise_deviation of the run's last step can be computed.
inline void check_deviation(const StepContext& last) {
  if (65536.0 * static_cast<double>(terms_of(last)) * static_cast<double>(last.sum_squares) <
      0x1p63)
    return;
  throw OptionError(
      "population", std::to_string(last.population),
      "with this fitness and noise-rank a sum of squares may need more than 64 bits; take "
      "a smaller one");
}

inline int64_t noise_deviation(const StepContext& context) {
  const int64_t deviation = noise_deviation(context.sum_squares, terms_of(context));
  return context.noise == Noise::full ? deviation / 16 : deviation;
}

}  // namespace eggroll
