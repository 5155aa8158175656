// `eggroll bench theory`: what the theory of low-rank perturbations says (arXiv 2511.16652, section
// 5 and appendices), as experiments with our noise, layers and sums, on one thread.
// deploy/experiments/theory.sh draws the figures.
//
// The fitness of the first two is bounded and not quadratic (of a quadratic one the expected
// update is the gradient, whatever the noise rank): f(W) = mean of cos((W x)_o - t) over outputs o
// and a few inputs x.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "common/noise.hpp"
#include "coordinator/bench/bench.hpp"
#include "coordinator/bench/noise_law.hpp"
#include "coordinator/bench/population_update.hpp"

namespace eggroll::bench {
namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
double norm(const Vector& a) { return std::sqrt(dot(a, a)); }
Vector minus(Vector a, const Vector& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}
double cosine(const Vector& a, const Vector& b) { return dot(a, b) / (norm(a) * norm(b)); }

double mean_of(const Vector& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
// Of their mean; 0 where there is one.
double standard_error(const Vector& values) {
  if (values.size() < 2) return 0;
  const double mean = mean_of(values), n = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (n * (n - 1)));
}

// Of y over x, both in logarithms.
double fitted_slope(const Vector& x, const Vector& y) {
  Vector log_x, log_y;
  for (const double value : x) log_x.push_back(std::log(value));
  for (const double value : y) log_y.push_back(std::log(value));
  const double mean_x = mean_of(log_x), mean_y = mean_of(log_y);
  double above = 0, below = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    above += (log_x[i] - mean_x) * (log_y[i] - mean_y);
    below += (log_x[i] - mean_x) * (log_x[i] - mean_x);
  }
  return above / below;
}

// Normal numbers that are the same on every machine.
Vector normal_numbers(size_t count, uint32_t which, double scale) {
  Vector values;
  for (uint32_t e = 0; e < count; ++e)
    values.push_back(scale * noise_element({9, 0, which, 0}, e) / 16.0);
  return values;
}
std::vector<float> floats_of(const Vector& values) { return {values.begin(), values.end()}; }

std::string kind_of(std::optional<int> noise_rank) {
  return noise_rank ? fmt::format("noise rank {}", *noise_rank) : "full noise";
}

// The bounded fitness at a point of its own.
struct Cosines {
  static constexpr size_t kInputs = 4;
  size_t rows, cols;
  Vector weights, inputs, targets;  // [rows, cols], [kInputs, cols], [kInputs, rows]
  Vector sines;                     // sin((W x)_o - t), [kInputs, rows]

  explicit Cosines(size_t width)
      : rows(width),
        cols(width),
        weights(normal_numbers(rows * cols, 0, 1 / std::sqrt(static_cast<double>(cols)))),
        inputs(normal_numbers(kInputs * cols, 1, 1 / std::sqrt(static_cast<double>(cols)))),
        targets(normal_numbers(kInputs * rows, 2, 1.5)) {
    for (size_t k = 0; k < kInputs; ++k)
      for (size_t o = 0; o < rows; ++o) {
        double output = 0;
        for (size_t i = 0; i < cols; ++i) output += weights[o * cols + i] * inputs[k * cols + i];
        sines.push_back(std::sin(output - targets[k * rows + o]));
      }
  }

  double fitness(std::span<const float> outputs) const {
    double sum = 0;
    for (size_t i = 0; i < outputs.size(); ++i) sum += std::cos(outputs[i] - targets[i]);
    return sum / static_cast<double>(outputs.size());
  }
  // What the gradient says of the step from the - member to the + member, halved.
  double linear_part(std::span<const float> plus, std::span<const float> minus) const {
    double sum = 0;
    for (size_t i = 0; i < plus.size(); ++i) sum -= sines[i] * (plus[i] - minus[i]) / 2;
    return sum / static_cast<double>(plus.size());
  }
  // mean over outputs of -sin(...) times what each input has in `of_inputs` [kInputs, cols].
  Vector weighted(const Vector& of_inputs) const {
    Vector sum(rows * cols);
    for (size_t k = 0; k < kInputs; ++k)
      for (size_t o = 0; o < rows; ++o)
        for (size_t i = 0; i < cols; ++i)
          sum[o * cols + i] -=
              sines[k * rows + o] * of_inputs[k * cols + i] / static_cast<double>(kInputs * rows);
    return sum;
  }
  Vector gradient() const { return weighted(inputs); }
  // E[f(W + sigma E) E] / sigma, exactly.
  Vector expected_update(double sigma, std::optional<int> noise_rank) const {
    Vector responses;
    for (size_t k = 0; k < kInputs; ++k)
      for (const double each :
           sine_response(std::span(inputs).subspan(k * cols, cols), sigma, noise_rank))
        responses.push_back(each / sigma);
    return weighted(responses);
  }
};

// The distance of the update to that of full noise, over the noise rank: O(1 / r). Exactly, and
// measured with so many pairs: what the gradient says is taken out of their utilities, as it is
// known what it adds to the mean, and of the square of the distance to the exact update what
// chance adds, by blocks.
void distance(Device& device, Report& report) {
  report.note(
      "distance of the expected update to that of full noise, as a share of it, over noise rank");
  constexpr double kSigma = 0.5;
  constexpr size_t kWidth = 16, kBlocks = 32;
  constexpr uint64_t kBlockPairs = 1 << 15;
  const Cosines f(kWidth);
  const Vector full = f.expected_update(kSigma, std::nullopt), gradient = f.gradient();
  Vector ranks, exact_distances, measured_ranks, measured_distances;
  for (const int r : {1, 2, 4, 8, 16, 32, 64}) {
    const double exact = norm(minus(f.expected_update(kSigma, r), full)) / norm(full);
    ranks.push_back(r);
    exact_distances.push_back(exact);
    report.point({.series = "distance, exact", .x = double(r), .y = exact});
  }
  report.point({.series = "distance, exact: slope",
                .y = fitted_slope(ranks, exact_distances),
                .theory = -1});

  for (const int r : {1, 2, 4, 8}) {
    const Vector expected = f.expected_update(kSigma, r);
    PopulationUpdate population(device, {kWidth, kWidth, r}, floats_of(f.weights));
    std::vector<Vector> blocks;  // distances to full noise
    for (size_t b = 0; b < kBlocks; ++b) {
      Vector update = population.mean(
          b * kBlockPairs, kBlockPairs, kSigma, floats_of(f.inputs),
          [&](std::span<const float> plus, std::span<const float> minus) {
            return ((f.fitness(plus) - f.fitness(minus)) / 2 - f.linear_part(plus, minus)) / kSigma;
          });
      for (size_t i = 0; i < update.size(); ++i)
        update[i] += noise_variance() * noise_variance() * gradient[i] - full[i];
      blocks.push_back(update);
    }
    // Products of different blocks have the square of the distance as their mean.
    const auto square_without = [&](size_t left_out) {
      Vector sum(full.size());
      double of_themselves = 0, n = 0;
      for (size_t b = 0; b < kBlocks; ++b) {
        if (b == left_out) continue;
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += blocks[b][i];
        of_themselves += dot(blocks[b], blocks[b]);
        ++n;
      }
      return (dot(sum, sum) - of_themselves) / (n * (n - 1));
    };
    const double square = square_without(kBlocks);
    Vector jackknife;
    for (size_t b = 0; b < kBlocks; ++b) jackknife.push_back(square_without(b));
    const double error = standard_error(jackknife) * (kBlocks - 1);
    const double measured = std::sqrt(std::max(square, 0.0)) / norm(full);
    measured_ranks.push_back(r);
    measured_distances.push_back(measured);
    report.point({.series = "distance, measured",
                  .x = double(r),
                  .y = measured,
                  .error = error / (2 * std::sqrt(std::max(square, error))) / norm(full),
                  .theory = norm(minus(expected, full)) / norm(full)});
  }
  report.point({.series = "distance, measured: slope",
                .y = fitted_slope(measured_ranks, measured_distances),
                .theory = -1});
}

// Alignment of the update with the gradient over pairs: to first order in sigma |update|^2 is
// |gradient|^2 (1 + (c - 1) / N) on average, c = E[<G, E>^2 |E|^2] / |G|^2.
void alignment_over_population(Device& device, Report& report) {
  report.note("cosine between update and gradient over pairs, 16 x 16 weights, small sigma");
  constexpr double kSigma = 0.01;
  constexpr size_t kWidth = 16;
  const double m = kWidth, n = kWidth, d = m * n;
  const Cosines f(kWidth);
  const Vector gradient = f.gradient();
  for (const std::optional<int> r : {std::optional(1), std::optional(4), std::optional<int>()}) {
    const double c = r ? ((m + 2) * (n + 2) + (*r - 1) * (d + 2)) / *r : d + 2;
    PopulationUpdate population(device, {kWidth, kWidth, r}, floats_of(f.weights));
    uint64_t next = 0;
    for (uint64_t pairs = 4; pairs <= 65536; pairs *= 4) {
      Vector cosines;
      const uint64_t repetitions = std::clamp<uint64_t>(65536 / pairs, 4, 64);
      for (uint64_t k = 0; k < repetitions; ++k, next += pairs)
        cosines.push_back(
            cosine(population.mean(next, pairs, kSigma, floats_of(f.inputs),
                                   [&](std::span<const float> plus, std::span<const float> minus) {
                                     return (f.fitness(plus) - f.fitness(minus)) / (2 * kSigma);
                                   }),
                   gradient));
      report.point({.series = "alignment over pairs, " + kind_of(r),
                    .x = static_cast<double>(pairs),
                    .y = mean_of(cosines),
                    .error = standard_error(cosines),
                    .theory = 1 / std::sqrt(1 + (c - 1) / static_cast<double>(pairs))});
    }
  }
}

// Alignment over the number of weights d, with as many pairs for each of them: f = <a, h> + <b, h>
// |h|^2 with h = W x at W = 0, orthonormal a and b, |x|^2 = cols. Its expected update is the gradient
// and, along b, sigma^2 cols (rows + 2)(1 + 2 / r) times as much: what is not linear counts unless
// sigma falls faster than d^-1/2. To which theory adds what chance does to the linear part.
void alignment_over_weights(Device& device, Report& report) {
  report.note(
      "cosine between update and gradient of a cubic over the number of weights d, noise rank 1, "
      "64 d pairs");
  constexpr double kPairsPerWeight = 64;
  constexpr double kFirst = 64, kAtFirst = 0.25;  // sigma^2 d there
  struct Law {
    const char* name;
    double power;
  };
  for (const Law& law :
       {Law{"sigma constant", 0}, Law{"sigma as d^-1/2", 0.5}, Law{"sigma as d^-3/4", 0.75}})
    for (const uint32_t width : {8, 16, 32, 64, 128}) {
      const double side = width, d = side * side;
      const auto sigma =
          static_cast<float>(std::sqrt(kAtFirst / kFirst) * std::pow(d / kFirst, -law.power));
      std::vector<float> x;
      for (const double each : normal_numbers(width, 3, 1)) x.push_back(each < 0 ? -1 : 1);
      Vector gradient;  // of <a, W x>, a with equal elements
      for (uint32_t o = 0; o < width; ++o) gradient.insert(gradient.end(), x.begin(), x.end());
      PopulationUpdate population(device, {width, width, 1}, std::vector<float>(width * width));
      const double unit = 1 / std::sqrt(side);
      const auto fitness = [unit](std::span<const float> h) {
        double a = 0, b = 0, square = 0;
        for (size_t o = 0; o < h.size(); ++o) {
          a += unit * h[o];
          b += (o % 2 == 0 ? unit : -unit) * h[o];
          square += double{h[o]} * h[o];
        }
        return a + b * square;
      };
      const Vector update =
          population.mean(0, static_cast<uint64_t>(kPairsPerWeight * d), sigma, x,
                          [&](std::span<const float> plus, std::span<const float> minus) {
                            return (fitness(plus) - fitness(minus)) / (2 * double{sigma});
                          });
      const double beside = double{sigma} * sigma * side * (side + 2) * 3;
      const double chance = ((side + 2) * (side + 2) - 1) / (kPairsPerWeight * d);
      report.point({.series = std::string("alignment over weights, ") + law.name,
                    .x = d,
                    .y = cosine(update, gradient),
                    .theory = 1 / std::sqrt(1 + beside * beside + chance)});
    }
}

// The density of an element of A B^T / sqrt(r) against its formula for normal A and B.
void density(Device& device, Report& report) {
  report.note("density of an element of the perturbation: total variation distance to the formula");
  constexpr uint32_t kSide = 8, kPairs = 1 << 15;
  constexpr double kBin = 0.1, kEnd = 5.05;
  constexpr size_t kBins = 101;
  for (const int r : {1, 2, 4, 16, 64}) {
    PopulationUpdate population(device, {kSide, kSide, r}, std::vector<float>(kSide * kSide));
    population.layers().begin(0, 1, {});
    std::vector<float> e(kSide * kSide);
    Vector shares(kBins);
    constexpr double kElements = double(kPairs) * kSide * kSide;
    for (uint32_t pair = 0; pair < kPairs; ++pair) {
      population.layers().materialise(0, {pair, 1}, e);
      for (const float value : e)
        if (std::abs(value) < kEnd)
          shares[static_cast<size_t>((value + kEnd) / kBin)] += 1 / kElements;
    }
    double difference = 0;
    for (size_t k = 0; k < kBins; ++k) {
      const double low = -kEnd + kBin * static_cast<double>(k);
      const double formula = density_of_element(low, low + kBin, r);
      difference += std::abs(shares[k] - kBin * formula) / 2;
      report.point({.series = fmt::format("density, {}", kind_of(r)),
                    .x = low + kBin / 2,
                    .y = shares[k] / kBin,
                    .theory = formula,
                    .is_for_plots = true});
    }
    report.point({.series = "density, distance", .x = double(r), .y = difference, .theory = 0});
  }
}

// Time and memory of a member over the width of a square matrix, 32 members at a time on one thread.
void costs(Device& device, Report& report) {
  report.note(
      "time and memory of a member and input over the width of a square matrix, 32 at a time");
  constexpr uint32_t kPairs = 16, kMembers = 2 * kPairs;
  for (const uint32_t width : {64, 128, 256, 512, 1024, 2048}) {
    const double side = width;
    const std::vector<float> weights = floats_of(normal_numbers(size_t{width} * width, 4, 0.1));
    const std::vector<float> x = floats_of(normal_numbers(size_t{kMembers} * width, 5, 1));
    std::vector<float> y(x.size());
    std::vector<RowNoise> noisy, plain(kMembers);
    for (uint64_t member = 0; member < kMembers; ++member)
      noisy.push_back(noise_of_member(member, Sampling::antithetic));
    PopulationUpdate low(device, {width, width, 1}, weights);
    PopulationUpdate full(device, {width, width, std::nullopt}, weights);
    uint32_t epoch = 0;
    const auto kept = [&](PopulationUpdate& population, const std::vector<RowNoise>& members) {
      return [&] {
        population.layers().begin(0, 0.1f, members);
        population.layers().linear(0, x, y);
      };
    };
    const auto made = [&](PopulationUpdate& population) {
      return [&] {
        population.layers().begin(++epoch, 0.1f, noisy);
        population.layers().linear(0, x, y);
      };
    };
    PopulationUpdate unperturbed(device, {width, width, 1}, weights);
    PopulationUpdate low_anew(device, {width, width, 1}, weights);
    PopulationUpdate full_anew(device, {width, width, std::nullopt}, weights);
    const std::vector<Case> cases = {{"plain inference", kMembers, kept(unperturbed, plain)},
                                     {"noise rank 1, noise kept", kMembers, kept(low, noisy)},
                                     {"noise rank 1, noise made", kMembers, made(low_anew)},
                                     {"full noise, noise kept", kMembers, kept(full, noisy)},
                                     {"full noise, noise made", kMembers, made(full_anew)}};
    const std::vector<Rate> rates = measure(cases, 5, 0.02);
    for (size_t c = 0; c < cases.size(); ++c)
      report.point({.series = "microseconds a member, " + cases[c].name,
                    .x = side,
                    .y = 1e6 / rates[c].median,
                    .error = 1e6 / rates[c].median * rates[c].spread / 2});
    const double activations = 2 * side * sizeof(float);
    const auto memory = [&](const char* name, double noise_of_pair) {
      report.point({.series = std::string("bytes a member, ") + name,
                    .x = side,
                    .y = activations + noise_of_pair / 2});
    };
    memory("plain inference", 0);
    memory("noise rank 1", 2 * side);
    memory("full noise", side * side);
  }
}

}  // namespace

void bench_theory(const Settings&, Report& report) {
  const std::unique_ptr<Device> device = make_device("cpu");
  report.note(device->description());
  distance(*device, report);
  alignment_over_population(*device, report);
  alignment_over_weights(*device, report);
  density(*device, report);
  costs(*device, report);
}

}  // namespace eggroll::bench
