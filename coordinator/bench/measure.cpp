#include "coordinator/bench/measure.hpp"

#include <time.h>

#include <algorithm>
#include <cmath>

#include "common/stopwatch.hpp"

namespace eggroll::bench {
namespace {

double run(const Case& c, uint64_t calls) {
  Stopwatch watch;
  for (uint64_t i = 0; i < calls; ++i) c.call();
  return watch.elapsed_s();
}

double percentile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

}  // namespace

double thread_cpu_s() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Rate rate_of(std::vector<double> values) {
  std::ranges::sort(values);
  const double median = percentile(values, 0.5);
  return {median, (percentile(values, 0.9) - percentile(values, 0.1)) / median};
}

std::vector<Rate> measure(const std::vector<Case>& cases, int repetitions, double slice_s) {
  std::vector<uint64_t> calls(cases.size(), 1);
  for (size_t c = 0; c < cases.size(); ++c) {
    double seconds = run(cases[c], 1);
    while (seconds < slice_s / 2 && calls[c] < (uint64_t{1} << 40)) {
      calls[c] *= 2;
      seconds = run(cases[c], calls[c]);
    }
    calls[c] = std::max<uint64_t>(
        1, static_cast<uint64_t>(static_cast<double>(calls[c]) * slice_s / seconds));
  }
  std::vector<std::vector<double>> rates(cases.size());
  for (int repetition = 0; repetition < repetitions; ++repetition)
    for (size_t c = 0; c < cases.size(); ++c)
      rates[c].push_back(cases[c].work * static_cast<double>(calls[c]) / run(cases[c], calls[c]));
  std::vector<Rate> result;
  for (auto& r : rates) result.push_back(rate_of(std::move(r)));
  return result;
}

}  // namespace eggroll::bench
