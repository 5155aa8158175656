// `eggroll bench shaping`: how long fitness takes to become utilities, and what their rounding to
// integers costs: the difference it makes to Z = sum_j d_j A_j B_j^T, beside the noise that Z has
// anyway, and to its alignment with the direction in which fitness rises.
#include "coordinator/shaping.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "common/layout.hpp"
#include "common/noise.hpp"
#include "common/rule_names.hpp"
#include "coordinator/bench/bench.hpp"

namespace eggroll::bench {
namespace {

constexpr size_t kMostMembers = size_t{1} << 18;
constexpr double kTarget_ms = 5;
constexpr double kClip = 3;   // deviations
constexpr size_t kSide = 16;  // of the matrix that is perturbed
using Matrix = std::array<double, kSide * kSide>;

double product(const Matrix& x, const Matrix& y) {
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}
double size_of(const Matrix& x) { return std::sqrt(product(x, x)); }

// Antithetic pairs of noise rank 1 and the fitness of their members: the perturbation along one
// direction, and as much noise of the evaluation.
struct Population {
  std::vector<std::array<int8_t, kSide>> a, b;  // [pairs]
  Matrix direction;
  std::vector<double> fitness;  // [members] of variance 1
  std::vector<double> divisor;  // [members] normal, not 0
};

Population make_population(uint32_t seed) {
  Population made{.a = std::vector<std::array<int8_t, kSide>>(kMostMembers / 2),
                  .b = made.a,
                  .direction = {},
                  .fitness = std::vector<double>(kMostMembers),
                  .divisor = std::vector<double>(kMostMembers)};
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  for (double& x : made.direction) x = normal(random);
  const double length = size_of(made.direction);
  for (double& x : made.direction) x /= length;
  for (size_t j = 0; j < kMostMembers / 2; ++j) {
    const NoiseAddress at{.seed = seed, .pair = static_cast<uint32_t>(j)};
    for (uint32_t i = 0; i < kSide; ++i) {
      made.b[j][i] = noise_element(at, i);
      made.a[j][i] = noise_element(at, static_cast<uint32_t>(noise_run(kSide)) + i);
    }
    double along = 0;
    for (size_t row = 0; row < kSide; ++row)
      for (size_t col = 0; col < kSide; ++col)
        along += made.direction[row * kSide + col] * made.a[j][row] * made.b[j][col];
    for (const int sign : {1, -1}) {
      const size_t member = 2 * j + (sign < 0);
      made.fitness[member] = (sign * along / kNoiseVariance + normal(random)) / std::sqrt(2.0);
      made.divisor[member] = normal(random);
    }
  }
  return made;
}

enum class Tails { normal, log_normal, cauchy };
constexpr std::string_view kTailNames[] = {"normal", "log-normal", "Cauchy"};

// The fitness of the first members, monotone in what it was, as it travels.
std::vector<double> with_tails(const Population& population, Tails tails, size_t members) {
  std::vector<double> fitness(members);
  for (size_t i = 0; i < members; ++i) {
    const double f = population.fitness[i];
    fitness[i] =
        static_cast<float>(tails == Tails::normal       ? f
                           : tails == Tails::log_normal ? std::exp(2 * f)
                                                        : f / std::abs(population.divisor[i]));
  }
  return fitness;
}

// [pairs] w_2j - w_2j+1 without rounding.
std::vector<double> exact_differences(std::span<const double> fitness, FitnessRule rule) {
  const size_t n = fitness.size();
  std::vector<double> w(fitness.begin(), fitness.end());
  if (rule == FitnessRule::centred_rank) {
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order, {}, [&](size_t member) { return fitness[member]; });
    for (size_t first = 0, end = 0; first < n; first = end) {
      while (end < n && fitness[order[end]] == fitness[order[first]]) ++end;
      for (size_t i = first; i < end; ++i)
        w[order[i]] = static_cast<double>(first + end - 1) / 2 / static_cast<double>(n - 1) - 0.5;
    }
  } else {
    const double mean = std::accumulate(w.begin(), w.end(), 0.0) / static_cast<double>(n);
    double squares = 0;
    for (double& each : w) each -= mean, squares += each * each;
    const double deviation = std::sqrt(squares / static_cast<double>(n) + 1e-5);
    for (double& each : w) each /= deviation;
  }
  for (size_t j = 0; j < n / 2; ++j) w[j] = w[2 * j] - w[2 * j + 1];
  w.resize(n / 2);
  return w;
}

// sum_j utility_j A_j B_j^T of the pairs first ... first + size - 1; exact where utilities are d.
Matrix sum_of(const Population& population, std::span<const double> utility, size_t first = 0) {
  Matrix sum{};
  for (size_t j = 0; j < utility.size(); ++j)
    for (size_t row = 0; row < kSide; ++row) {
      const double scaled = utility[j] * population.a[first + j][row];
      for (size_t col = 0; col < kSide; ++col)
        sum[row * kSide + col] += scaled * population.b[first + j][col];
    }
  return sum;
}

// No further from 0 than kClip deviations.
std::vector<double> clipped(std::vector<double> utility) {
  const double squares = std::inner_product(utility.begin(), utility.end(), utility.begin(), 0.0);
  const double end = kClip * std::sqrt(squares / static_cast<double>(utility.size()));
  for (double& each : utility) each = std::clamp(each, -end, end);
  return utility;
}

double alignment_of(const Matrix& z, const Population& population) {
  return product(z, population.direction) / size_of(z);
}

// What rounding does to one estimate.
struct Effect {
  double rounding = 0;      // |Z of d times unit - Z| / |Z|
  double noise = 0;         // of Z itself: |Z of one half - Z of the other| / |Z|
  double alignment = 0;     // cosine between Z of d and the direction
  double of_unrounded = 0;  // the same of Z
  double of_clipped = 0;    // the same of Z without what is beyond kClip deviations
};

Effect effect_of(const Population& population, std::span<const double> fitness, FitnessRule rule) {
  const std::vector<double> exact = exact_differences(fitness, rule);
  const ShapedPopulation shaped = shape(fitness, {.rule = rule});
  const size_t half = exact.size() / 2;
  const Matrix one = sum_of(population, std::span(exact).first(half));
  const Matrix other = sum_of(population, std::span(exact).subspan(half), half);
  const Matrix of_d = sum_of(population, std::vector<double>(shaped.d.begin(), shaped.d.end()));
  Matrix z{}, between_halves{}, rounded_off{};
  for (size_t i = 0; i < z.size(); ++i) {
    z[i] = one[i] + other[i];
    between_halves[i] = one[i] - other[i];
    rounded_off[i] = of_d[i] * shaped.unit - z[i];
  }
  return {.rounding = size_of(rounded_off) / size_of(z),
          .noise = size_of(between_halves) / size_of(z),
          .alignment = alignment_of(of_d, population),
          .of_unrounded = alignment_of(z, population),
          .of_clipped = alignment_of(sum_of(population, clipped(exact)), population)};
}

void report_times(const Settings& settings, Report& report) {
  report.note(fmt::format("time: {} members with fitness of 4 bytes, one thread; target {} ms",
                          kMostMembers, kTarget_ms));
  std::vector<double> fitness(kMostMembers);
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  for (double& f : fitness) f = static_cast<float>(normal(random));
  std::vector<Case> cases;
  for (size_t rule = 0; rule < kNames<FitnessRule>.size(); ++rule)
    for (const Sampling sampling : {Sampling::antithetic, Sampling::independent}) {
      const ShapingSettings shaping{.rule = static_cast<FitnessRule>(rule), .sampling = sampling};
      if (sampling == Sampling::independent && compares_pairs(shaping.rule)) continue;
      cases.push_back({fmt::format("{}, {}", kNames<FitnessRule>[rule],
                                   kNames<Sampling>[static_cast<size_t>(sampling)]),
                       1, [&fitness, shaping] { shape(fitness, shaping); }});
    }
  const std::vector<Rate> rates = measure(cases, settings.repetitions, settings.slice_s);
  for (size_t i = 0; i < cases.size(); ++i) {
    const double ms = 1e3 / rates[i].median;
    report.row(cases[i].name, "ms", {ms, rates[i].spread}, 1, "of target", ms / kTarget_ms);
  }
}

void report_rounding(const Settings& settings, Report& report) {
  report.note(fmt::format(
      "rounding: its share of |Z|, over populations with other noise; Z of a {} x {} matrix, "
      "antithetic pairs of noise rank 1, against utilities in fp64; ratio to the noise of Z, which "
      "is |Z of one half of the pairs - Z of the other| / |Z|",
      kSide, kSide));
  report.note(
      "alignment: cosine between Z and the direction in which fitness rises; fitness is y, exp(2 "
      "y) "
      "or y / |normal|, y = (direction . perturbation + normal) / sqrt(2). raw and group round as "
      "z-score does: pairs have the same d");
  report.note(fmt::format(
      "clipped: the same cosine in fp64 if utilities ended at {} deviations, which no rule does",
      kClip));
  struct Row {
    Tails tails;
    FitnessRule rule;
    int log_members;
    std::vector<double> rounding, noise, alignment, of_unrounded, of_clipped;
  };
  std::vector<Row> rows;
  for (const Tails tails : {Tails::normal, Tails::log_normal, Tails::cauchy})
    for (const FitnessRule rule : {FitnessRule::centred_rank, FitnessRule::z_score})
      for (int log_members = 8; log_members <= 18; log_members += 2)
        rows.push_back({tails, rule, log_members, {}, {}, {}, {}, {}});
  for (int seed = 1; seed <= settings.repetitions; ++seed) {
    const Population population = make_population(static_cast<uint32_t>(seed));
    for (Row& row : rows) {
      const std::vector<double> fitness =
          with_tails(population, row.tails, size_t{1} << row.log_members);
      const Effect effect = effect_of(population, fitness, row.rule);
      row.rounding.push_back(effect.rounding);
      row.noise.push_back(effect.noise);
      row.alignment.push_back(effect.alignment);
      row.of_unrounded.push_back(effect.of_unrounded);
      row.of_clipped.push_back(effect.of_clipped);
    }
  }
  const auto print = [&](const Row& row, std::string_view what, std::string_view unit,
                         const std::vector<double>& values, double scale, std::string_view against,
                         const std::vector<double>& beside) {
    const Rate rate = rate_of(values);
    report.row(
        fmt::format("{}, {} of {}, 2^{}", what, kNames<FitnessRule>[static_cast<size_t>(row.rule)],
                    kTailNames[static_cast<size_t>(row.tails)], row.log_members),
        std::string(unit), rate, scale, std::string(against), rate.median / rate_of(beside).median);
  };
  for (const Row& row : rows)
    print(row, "rounding", "% of Z", row.rounding, 100, "of the noise of Z", row.noise);
  for (const Row& row : rows)
    print(row, "alignment", "cosine", row.alignment, 1, "of that in fp64", row.of_unrounded);
  for (const Row& row : rows)
    if (row.rule == FitnessRule::z_score)
      print(row, "clipped", "cosine", row.of_clipped, 1, "of that in fp64", row.of_unrounded);
}

}  // namespace

void bench_shaping(const Settings& settings, Report& report) {
  report_times(settings, report);
  report_rounding(settings, report);
}

}  // namespace eggroll::bench
