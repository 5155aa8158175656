// How much evidence moves a weight by one, as a function of the generation. Computed on rank 0
// alone and sent as integers.
#pragma once

#include <cstdint>

#include "common/config.hpp"

namespace eggroll {

// alpha_t = 1 / ((2^a - 1) t / decay + 1) for a = config.alpha > 1; constant a for a <= 1. About
// the share of weights that move by chance.
double alpha_at(const RunConfig& config, uint64_t generation);

// floor(16 PhiInv(1 - alpha / 2)): the two-sided normal quantile with 4 fractional bits.
int64_t normal_quantile_16(double alpha);

// s = isqrt(65536 terms sum_j d_j^2): the standard deviation of an element of Z under no signal.
int64_t noise_deviation(uint64_t sum_squares, uint64_t terms);

// The |Z| (threshold rule) or |M| (sigma_delta rule) from which an element moves; terms =
// noise_rank for matrices, 1 for vectors.
//   threshold    16 |Z| >= normal_quantile_16(alpha_t) s
//   sigma_delta  threshold_factor / sqrt(alpha_t) s
int64_t step_threshold(const RunConfig& config, uint64_t generation, uint64_t sum_squares,
                       uint64_t terms);

}  // namespace eggroll
