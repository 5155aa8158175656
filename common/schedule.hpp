// A number that changes over a run, such as a learning rate: from a start to an end in a number of
// generations, and constant from there on. Evaluated by rank 0 alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "common/options.hpp"

namespace eggroll {

enum class Course { constant, linear, exponential, cosine };
template <>
inline constexpr std::array<std::string_view, 4> kNames<Course> = {"constant", "linear",
                                                                   "exponential", "cosine"};

// x^u for u from 0 to 1: its binary digits choose among the roots of x. Like cos_pi, of operations alone
// that every processor rounds in the same way, where those of maths libraries differ in the last bit, so
// that a run goes on with the same bits on another machine.
inline double power(double x, double u) {
  if (u >= 1) return x;
  double result = 1;
  for (double root = std::sqrt(x); u > 0; root = std::sqrt(root)) {
    u *= 2;
    if (u < 1) continue;
    result *= root;
    u -= 1;
  }
  return result;
}

// cos(pi u) for u from 0 to 1: sin(x) = x - x^3/3! + ..., x = pi (1/2 - u), to the last bits.
inline double cos_pi(double u) {
  const double x = 3.14159265358979323846 * (0.5 - u);
  double sum = 0, term = x;
  for (int n = 1; n < 24; n += 2, term *= -x * x / (n * (n - 1))) sum += term;
  return sum;
}

struct Schedule {
  double start = 1;
  Course course = Course::constant;
  double end = 0.1;  // share of the start that is left at the end
  GenerationSpan over = {100, true};

  // With t of T generations done, u = min(t / T, 1):
  //   linear       start (1 - u (1 - end))        exponential  start end^u
  //   cosine       start (end + (1 - end) (1 + cos(pi u)) / 2)
  double at(uint64_t generation, uint64_t planned) const {
    const double u = std::fmin(static_cast<double>(generation) / over.generations(planned), 1.0);
    switch (course) {
      case Course::constant:
        return start;
      case Course::linear:
        return start * (1 - u * (1 - end));
      case Course::exponential:
        return start * power(end, u);
      case Course::cosine:
        return start * (end + (1 - end) * 0.5 * (1 + cos_pi(u)));
    }
    return start;
  }

  // Rows NAME, NAME-schedule, NAME-end, NAME-over.
  void declare(Options& to, const std::string& name, double low, double high,
               const std::string& help) {
    to.number(name, start, low, high, help);
    to.choice(name + "-schedule", course, "how " + name + " goes from its start to its end");
    to.number(name + "-end", end, 1e-9, 1.0, "share of " + name + " that is left at its end");
    add_span(to, name + "-over", over,
             "generations, or percent of the planned ones, until " + name + " is at its end");
  }
};

}  // namespace eggroll
