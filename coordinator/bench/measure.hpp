// Timing that can be believed on a shared machine: cases take turns, so that a disturbance meets
// all of them, and each figure is a median with its spread. Ratios of medians of one process are
// what documents quote.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace eggroll::bench {

struct Case {
  std::string name;
  double work = 1;  // units done by one call
  std::function<void()> call;
};

struct Rate {
  double median = 0;  // units a second
  double spread = 0;  // (90th - 10th percentile) / median
};

// CPU time of the calling thread: others that want the processor too do not count.
double thread_cpu_s();

// Of one figure, from its repetitions; not none.
Rate rate_of(std::vector<double> values);

// Runs each case `repetitions` times in turn, at least slice_s a time; one warm-up round comes first.
std::vector<Rate> measure(const std::vector<Case>& cases, int repetitions, double slice_s);

}  // namespace eggroll::bench
