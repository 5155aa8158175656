// The chance of an episode: a function of its seed and of how many numbers have been drawn. Number n is
// made of words 2 (n mod 2) and 2 (n mod 2) + 1 of Philox block n / 2, of which the first gives the 27
// upper and the second the 26 lower of 53 bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/rng.hpp"
#include "worker/control/elementary.hpp"

namespace eggroll {

class EpisodeRandom {
 public:
  explicit EpisodeRandom(uint64_t seed) : seed_(seed) {}

  // In [0, 1).
  double uniform() {
    if (drawn_ % 2 == 0) {
      const uint64_t block = drawn_ / 2;
      block_ =
          philox4x32({{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}},
                     static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32));
    }
    const uint32_t* words = block_.word + 2 * (drawn_++ % 2);
    return static_cast<double>(uint64_t{words[0] >> 5} << 26 | words[1] >> 6) * 0x1p-53;
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Of mean 0 and variance 1 (Box and Muller 1958), of two numbers.
  double normal();

 private:
  uint64_t seed_;
  uint64_t drawn_ = 0;
  PhiloxBlock block_ = {};
};

inline double EpisodeRandom::normal() {
  const double size = uniform(), direction = uniform();
  return std::sqrt(-2 * elementary::log(1 - size)) *
         elementary::cos(2 * 3.14159265358979323846 * direction);
}

}  // namespace eggroll
