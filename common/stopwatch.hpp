// Wall time in seconds since construction or the last lap().
#pragma once

#include <chrono>

namespace eggroll {

class Stopwatch {
 public:
  double elapsed_s() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  double lap_s() {
    const double elapsed = elapsed_s();
    start_ = Clock::now();
    return elapsed;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace eggroll
