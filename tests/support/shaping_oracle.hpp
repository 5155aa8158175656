// Slow oracles of coordinator/shaping: utilities by the words of its header, in long double, and
// fitness to try them on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "common/noise.hpp"
#include "coordinator/shaping.hpp"

namespace eggroll {

inline int sign_of(int64_t value) { return (value > 0) - (value < 0); }

inline constexpr FitnessRule kRealRules[] = {FitnessRule::raw, FitnessRule::z_score,
                                             FitnessRule::centred_rank, FitnessRule::group};
inline constexpr Sampling kSamplings[] = {Sampling::antithetic, Sampling::independent};
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Each rule with each sampling that it allows.
inline std::vector<ShapingSettings> all_settings(uint32_t group_size = 2) {
  std::vector<ShapingSettings> all{{.rule = FitnessRule::sign}, {.rule = FitnessRule::levels}};
  for (const FitnessRule rule : kRealRules)
    for (const Sampling sampling : kSamplings) all.push_back({rule, sampling, group_size});
  return all;
}

inline std::string name_of(const ShapingSettings& s) {
  constexpr const char* kRules[] = {"sign", "levels", "raw", "z-score", "centred rank", "group"};
  return std::string(kRules[static_cast<int>(s.rule)]) +
         (s.sampling == Sampling::antithetic ? ", pairs" : ", independent");
}

using Reals = std::vector<long double>;

inline long double deviation_of(const Reals& centred) {
  long double squares = 0;
  for (const long double c : centred) squares += c * c;
  return std::sqrt(squares / static_cast<long double>(centred.size()) + 1e-5L);
}

inline Reals centred_by_group(const std::vector<double>& fitness, size_t group_size) {
  Reals centred;
  for (size_t i = 0; i < fitness.size(); ++i) {
    long double sum = 0;
    const size_t first = i / group_size * group_size;
    for (size_t k = first; k < first + group_size; ++k) sum += fitness[k];
    centred.push_back(fitness[i] - sum / static_cast<long double>(group_size));
  }
  return centred;
}

// The utility of each member by the words of the header.
inline Reals utilities_by_definition(const std::vector<double>& fitness,
                                     const ShapingSettings& settings) {
  const size_t n = fitness.size();
  Reals w;
  switch (settings.rule) {
    case FitnessRule::raw:
      return {fitness.begin(), fitness.end()};
    case FitnessRule::centred_rank:
      for (const double f : fitness) {
        const auto below = std::ranges::count_if(fitness, [&](double g) { return g < f; });
        const auto equal = std::ranges::count(fitness, f);
        const long double rank =
            static_cast<long double>(below) + static_cast<long double>(equal - 1) / 2;
        w.push_back(rank / static_cast<long double>(n - 1) - 0.5L);
      }
      return w;
    default:
      w = centred_by_group(fitness, settings.rule == FitnessRule::group ? settings.group_size : n);
      const long double deviation = deviation_of(w);
      for (long double& each : w) each /= deviation;
      return w;
  }
}

// What d stands for.
inline Reals wanted(const std::vector<double>& fitness, const ShapingSettings& settings) {
  Reals w = utilities_by_definition(fitness, settings);
  if (settings.sampling == Sampling::independent) return w;
  for (size_t j = 0; j < w.size() / 2; ++j) w[j] = w[2 * j] - w[2 * j + 1];
  w.resize(w.size() / 2);
  return w;
}

inline int largest_of(const ShapedPopulation& shaped) {
  int largest = 0;
  for (const int d : shaped.d) largest = std::max(largest, std::abs(d));
  return largest;
}

inline std::vector<double> normal_fitness(size_t n, uint32_t seed) {
  std::vector<double> fitness(n);
  for (size_t i = 0; i < n; ++i)
    fitness[i] =
        static_cast<float>(noise_element({seed, 0, 0, 0}, static_cast<uint32_t>(2 * i)) +
                           noise_element({seed, 0, 0, 0}, static_cast<uint32_t>(2 * i + 1)) / 97.0);
  return fitness;
}

inline std::vector<double> whole_fitness(size_t n, int values, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<double> fitness(n);
  for (double& f : fitness) f = static_cast<double>(random() % static_cast<uint32_t>(values));
  return fitness;
}

}  // namespace eggroll
