#include "coordinator/shaping.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr double kVarianceEpsilon = 1e-5;  // arXiv 2511.16652, section 4
constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool is_finite(double fitness) { return std::abs(fitness) <= std::numeric_limits<float>::max(); }

// value(first) + ... + value(first + count - 1), in a tree that depends on count alone.
template <typename Value>
double sum_of(size_t first, size_t count, const Value& value) {
  constexpr size_t kLanes = 8, kLeaf = 256;
  if (count > kLeaf) {
    const size_t half = count / 2 / kLanes * kLanes;
    return sum_of(first, half, value) + sum_of(first + half, count - half, value);
  }
  std::array<double, kLanes> lane{};
  const size_t whole = count / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t l = 0; l < kLanes; ++l) lane[l] += value(first + i + l);
  for (size_t i = whole; i < count; ++i) lane[i - whole] += value(first + i);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

struct Range {
  double worst = kInfinity, best = -kInfinity;  // of the finite ones
  size_t finite = 0;
};

Range range_of(std::span<const double> fitness) {
  Range range;
  for (const double f : fitness) {
    const bool counts = is_finite(f);
    range.finite += counts;
    range.worst = counts && f < range.worst ? f : range.worst;
    range.best = counts && f > range.best ? f : range.best;
  }
  return range;
}

// [members] Twice the rank of each fitness, counted from the middle: whole numbers from
// -(members - 1) to members - 1, the same for equal ones. Not all may be equal. A radix sort,
// lowest digits first, of words that hold the bits in which the fitnesses differ and below them the
// member. Where fitness came as 4 bytes both fit, and else what does not is left to a comparison.
std::vector<double> twice_centred_ranks(std::span<const double> fitness) {
  const size_t n = fitness.size();
  // In the order of the fitness, with 0 and -0 the same, and as many zeros at its end.
  const auto key_of = [&](size_t member) {
    constexpr uint64_t kMiddle = uint64_t{1} << 63;
    const auto bits = std::bit_cast<uint64_t>(fitness[member]);
    return bits & kMiddle ? kMiddle - (bits - kMiddle) : kMiddle + bits;
  };
  const uint64_t key_of_first = key_of(0);
  uint64_t differing = 0;
  for (size_t i = 0; i < n; ++i) differing |= key_of(i) ^ key_of_first;
  const int member_bits = std::bit_width(n - 1);
  const int high = std::bit_width(differing), all_bits = high - std::countr_zero(differing);
  const int key_bits = std::min(all_bits, 64 - member_bits);

  std::vector<uint64_t> words(2 * n);
  std::span<uint64_t> from(words.data(), n), to(words.data() + n, n);
  for (size_t i = 0; i < n; ++i)
    from[i] = key_of(i) << (64 - high) >> (64 - key_bits) << member_bits | i;
  constexpr int kMostDigitBits = 12;
  const int passes = (key_bits + kMostDigitBits - 1) / kMostDigitBits;
  const int digit_bits = (key_bits + passes - 1) / passes;
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = member_bits + pass * digit_bits;
    const auto digit = [&](uint64_t word) { return word >> shift & ((1u << digit_bits) - 1); };
    std::array<uint32_t, 1 << kMostDigitBits> place{};
    for (const uint64_t word : from) ++place[digit(word)];
    std::exclusive_scan(place.begin(), place.end(), place.begin(), 0u);
    for (const uint64_t word : from) to[place[digit(word)]++] = word;
    std::swap(from, to);
  }

  const auto member = [&](uint64_t word) { return word & ((uint64_t{1} << member_bits) - 1); };
  const auto key = [&](size_t at) { return from[at] >> member_bits; };
  const auto fitness_at = [&](size_t at) { return fitness[member(from[at])]; };
  const bool is_complete = key_bits == all_bits;
  if (!is_complete)
    for (size_t first = 0, end = 0; first < n; first = end) {
      while (end < n && key(end) == key(first)) ++end;
      std::ranges::sort(from.subspan(first, end - first), {},
                        [&](uint64_t word) { return fitness[member(word)]; });
    }
  std::vector<double> ranks(n);
  for (size_t first = 0, end = 0; first < n; first = end) {
    while (end < n && key(end) == key(first) &&
           (is_complete || fitness_at(end) == fitness_at(first)))
      ++end;
    const double middle = static_cast<double>(first + end) - static_cast<double>(n);
    for (size_t i = first; i < end; ++i) ranks[member(from[i])] = middle;
  }
  return ranks;
}

// [members] fitness - mean of its group.
std::vector<double> centre(std::span<const double> fitness, size_t group_size) {
  std::vector<double> centred(fitness.size());
  for (size_t first = 0; first < fitness.size(); first += group_size) {
    // From the first on, so that the mean of equal ones has no error.
    const auto above_first = [&](size_t i) { return fitness[i] - fitness[first]; };
    const double mean = sum_of(first, group_size, above_first) / static_cast<double>(group_size);
    for (size_t i = first; i < first + group_size; ++i) centred[i] = above_first(i) - mean;
  }
  return centred;
}

double deviation(std::span<const double> centred) {
  const double squares =
      sum_of(0, centred.size(), [&](size_t i) { return centred[i] * centred[i]; });
  return std::sqrt(squares / static_cast<double>(centred.size()) + kVarianceEpsilon);
}

// The largest whole number of which all values are multiples, if none is more than kLargestUtility
// times it; 0: there is no such number.
template <typename Value>
uint64_t common_divisor(size_t count, const Value& value, double largest) {
  if (largest >= 0x1p53) return 0;
  uint64_t divisor = 0;
  for (size_t i = 0; i < count; ++i) {
    const double size = std::abs(value(i));
    const auto whole = static_cast<uint64_t>(size);
    if (static_cast<double>(whole) != size) return 0;
    if (divisor != 0 && whole % divisor == 0) continue;
    divisor = std::gcd(divisor, whole);
    if (divisor != 0 && static_cast<double>(divisor) * kLargestUtility < largest) return 0;
  }
  return divisor;
}

// d of the utilities value(0), ..., value(count - 1), each of them times `scale`.
template <typename Value>
void quantise(size_t count, const Value& value, double scale, ShapedPopulation& shaped) {
  double largest = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(value(i)));
  if (largest == 0) return;
  double multiply = 1, divide = static_cast<double>(common_divisor(count, value, largest));
  if (divide == 0) multiply = kLargestUtility, divide = largest;
  shaped.unit = divide / multiply * scale;
  for (size_t i = 0; i < count; ++i) {
    const double exact = value(i) * multiply / divide;
    const auto towards_zero = static_cast<int32_t>(exact);
    const double rest = exact - towards_zero;
    shaped.d[i] = static_cast<int16_t>(towards_zero + (rest >= 0.5) - (rest <= -0.5));
  }
}

double value_at_rank(std::span<double> values, size_t rank) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(rank),
                   values.end());
  return values[rank];
}

template <typename Value>
void give_levels(size_t pairs, const Value& difference, FitnessRule rule,
                 ShapedPopulation& shaped) {
  double counts_once = 0, counts_twice = kInfinity;
  if (rule == FitnessRule::levels) {
    std::vector<double> sizes(pairs);
    for (size_t j = 0; j < pairs; ++j) sizes[j] = std::abs(difference(j));
    counts_once = value_at_rank(sizes, pairs / 3);
    counts_twice = value_at_rank(std::span(sizes).subspan(pairs / 3), 79 * pairs / 100 - pairs / 3);
  }
  for (size_t j = 0; j < pairs; ++j) {
    const double real = difference(j), size = std::abs(real);
    const int level = size == 0 || size < counts_once ? 0 : size >= counts_twice ? 2 : 1;
    shaped.d[j] = static_cast<int16_t>(real < 0 ? -level : level);
  }
}

}  // namespace

ShapedPopulation shape(std::span<const double> fitness, const ShapingSettings& settings) {
  const FitnessRule rule = settings.rule;
  const size_t members = fitness.size(), pairs = members / 2;
  const bool is_antithetic = settings.sampling == Sampling::antithetic;
  const size_t group = rule == FitnessRule::group ? settings.group_size : members;
  require(is_antithetic || !compares_pairs(rule), "sign and levels are of antithetic pairs");
  require(members == 0 || (group > 0 && group % 2 == 0 && members % group == 0),
          "members come in pairs, and groups of pairs divide them");

  ShapedPopulation shaped;
  shaped.d.resize(is_antithetic ? pairs : members);
  const std::span<const double> as_it_came = fitness;
  const Range range = range_of(fitness);
  shaped.fitness.not_finite = members - range.finite;
  std::vector<double> replaced;
  if (range.finite < members) {
    replaced.assign(fitness.begin(), fitness.end());
    for (double& f : replaced)
      if (!is_finite(f)) f = range.finite == 0 ? 0 : range.worst;
    fitness = replaced;
  }
  if (range.finite > 0) {
    // What was not finite adds nothing to this sum.
    const double above = sum_of(0, members, [&](size_t i) { return fitness[i] - range.worst; });
    shaped.fitness.mean = range.worst + above / static_cast<double>(range.finite);
    shaped.fitness.best = range.best;
    shaped.fitness.worst = range.worst;
    const double squares = sum_of(0, members, [&](size_t i) {
      const double distance = as_it_came[i] - shaped.fitness.mean;
      return is_finite(as_it_came[i]) ? distance * distance : 0;
    });
    shaped.fitness.deviation = std::sqrt(squares / static_cast<double>(range.finite));
  }
  const auto difference = [&](size_t j) { return fitness[2 * j] - fitness[2 * j + 1]; };
  for (size_t j = 0; j < pairs; ++j) shaped.ties += difference(j) == 0;
  if (range.finite == 0 || range.worst == range.best) return shaped;

  const auto give = [&](std::span<const double> of_members, double scale) {
    const auto utility = [=](size_t i) { return of_members[i]; };
    const auto of_pair = [=](size_t j) { return of_members[2 * j] - of_members[2 * j + 1]; };
    is_antithetic ? quantise(pairs, of_pair, scale, shaped)
                  : quantise(members, utility, scale, shaped);
  };
  switch (rule) {
    case FitnessRule::sign:
    case FitnessRule::levels:
      give_levels(pairs, difference, rule, shaped);
      break;
    case FitnessRule::raw:
      give(fitness, 1);
      break;
    case FitnessRule::z_score:  // all are one group
    case FitnessRule::group: {
      const std::vector<double> centred = centre(fitness, group);
      // A pair is of one group, whose mean is not in its difference.
      give(is_antithetic ? fitness : centred, 1 / deviation(centred));
      break;
    }
    case FitnessRule::centred_rank:
      give(twice_centred_ranks(fitness), 0.5 / static_cast<double>(members - 1));
      break;
  }
  for (const int16_t d : shaped.d) {
    const int64_t wide = d;
    shaped.sum_squares += static_cast<uint64_t>(wide * wide);
    shaped.sum_magnitudes += static_cast<uint64_t>(wide < 0 ? -wide : wide);
    shaped.active += d != 0;
  }
  return shaped;
}

}  // namespace eggroll
