// Sine, cosine, exponential and logarithm for what must not depend on a maths library: those of two
// machines differ in last bits, and a simulation that takes thousands of steps shows it. These are made
// of + - * / of doubles and of exact operations, so that every processor, instruction set and compiler
// gives the same bits (with -ffp-contract=off, as everywhere here, and rounding to nearest).
//
// Errors of at most 0.95 units in the last place (tests/unit/elementary_test.cpp) for all finite arguments
// of exp and log and for |x| < 2^20 of sin and cos. Beyond, their period is the double nearest 2 pi: in
// [-1, 1] and repeatable, but of another phase, by up to 2^-54 x.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace eggroll::elementary {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

// c[0] + c[1] z + ... + c[N - 1] z^(N-1), by halves (Estrin 1960), which do not wait for one another.
template <size_t N>
inline double polynomial(const double* c, double z) {
  if constexpr (N == 1) {
    return c[0];
  } else {
    constexpr size_t half = std::bit_ceil(N) / 2;
    double power = z;
    for (size_t n = 1; n < half; n *= 2) power *= power;
    return polynomial<half>(c, z) + power * polynomial<N - half>(c + half, z);
  }
}

// sign / n!, turn sign / (n + stride)!, ... of n = first, each rounded once: up to 18! they are exact.
template <size_t N>
constexpr std::array<double, N> taylor(int first, int stride, double sign, double turn) {
  std::array<double, N> result = {};
  for (size_t i = 0; i < N; ++i, first += stride, sign *= turn) {
    double factorial = 1;
    for (int n = 2; n <= first; ++n) factorial *= n;
    result[i] = sign / factorial;
  }
  return result;
}
inline constexpr auto kSine = taylor<8>(3, 2, -1, -1);        // -x^3/3! + x^5/5! ...
inline constexpr auto kCosine = taylor<7>(4, 2, 1, -1);       // x^4/4! - x^6/6! ...
inline constexpr auto kExponential = taylor<12>(2, 1, 1, 1);  // x^2/2! + x^3/3! ...
// log((1 + s) / (1 - s)) = 2 s + 2 s (s^2/3 + s^4/5 + ...)
inline constexpr std::array<double, 10> kLogarithm = {
    2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21};
// log 2 in two pieces, the first of 42 bits: its multiples by exponents are exact.
inline constexpr double kLog2 = 0x1.62e42fefa38p-1, kLog2Rest = 0x1.ef35793c7673p-45;
// Added, it leaves no fraction of a smaller number, whose integer are its last bits.
inline constexpr double kToInteger = 0x1.8p52;

// x = quarters pi/2 + angle + rest, the angle within pi/4, the rest below its last place.
struct Reduced {
  double angle, rest;
  uint64_t quarters;  // modulo 4
};

inline Reduced reduced(double x) {
  // pi/2 in pieces of 33 bits, whose multiples by up to 2^20 are exact, and what is left of it.
  constexpr double kPieces[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69,
                                0x1.b839a252049c1p-104};
  if (!(std::fabs(x) < 0x1p20)) x = std::fmod(x, 0x1.921fb54442d18p+2);
  const double shifted = x * 0x1.45f306dc9c883p-1 + kToInteger;
  const double n = shifted - kToInteger;
  const double a = x - n * kPieces[0];  // exact
  const double b = n * -kPieces[1], c = n * -kPieces[2];
  // Sums and their errors (Knuth 1969).
  const double ab = a + b, b_in = ab - a;
  const double ab_rest = (a - (ab - b_in)) + (b - b_in);
  const double abc = ab + c, c_in = abc - ab;
  const double abc_rest = (ab - (abc - c_in)) + (c - c_in);
  const double rest = ab_rest + abc_rest - n * kPieces[3];
  const double angle = abc + rest;
  return {angle, (abc - angle) + rest, std::bit_cast<uint64_t>(shifted) % 4};
}

inline double sin_of(const Reduced& x) {
  const double square = x.angle * x.angle;
  const double terms = x.angle * square * polynomial<8>(kSine.data(), square);
  return x.angle + (terms + x.rest * (1 - 0.5 * square));
}

inline double cos_of(const Reduced& x) {
  const double square = x.angle * x.angle, half = 0.5 * square;
  const double terms = square * square * polynomial<7>(kCosine.data(), square);
  const double sum = 1 - half;
  return sum + (((1 - sum) - half) + (terms - x.angle * x.rest));
}

inline double sin(double x) {
  if (!(std::fabs(x) < kInfinity)) return kNaN;
  if (std::fabs(x) < 0x1p-27) return x;  // -0 too
  const Reduced at = reduced(x);
  const double size = at.quarters % 2 == 0 ? sin_of(at) : cos_of(at);
  return at.quarters < 2 ? size : -size;
}

inline double cos(double x) {
  if (!(std::fabs(x) < kInfinity)) return kNaN;
  const Reduced at = reduced(x);
  const double size = at.quarters % 2 == 0 ? cos_of(at) : sin_of(at);
  return (at.quarters + 1) % 4 < 2 ? size : -size;
}

// 2^n of an exponent of normal numbers.
inline double power_of_2(int64_t n) {
  return std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52);
}

inline double exp(double x) {
  if (!(x < 710)) return x >= 710 ? kInfinity : kNaN;
  if (x < -746) return 0;
  // x = n log 2 + r + rest
  const double shifted = x * 0x1.71547652b82fep+0 + kToInteger;
  const double n = shifted - kToInteger;
  const double exact = x - n * kLog2, small = n * -kLog2Rest;
  const double r = exact + small, rest = (exact - r) + small;
  const double sum = 1 + r;
  const double terms = r * r * polynomial<12>(kExponential.data(), r);
  const double result = sum + (((1 - sum) + r) + (rest + terms));
  const auto exponent = static_cast<int64_t>(n);  // twice a half of it: it may be no normal one's
  return result * power_of_2(exponent / 2) * power_of_2(exponent - exponent / 2);
}

inline double log(double x) {
  if (!(x > 0 && x < kInfinity)) return x == 0 ? -kInfinity : x > 0 ? x : kNaN;
  int64_t exponent = 0;
  if (x < 0x1p-1022) x *= 0x1p54, exponent = -54;
  // x = 2^exponent (1 + f), 1 + f between the roots of 1/2 and 2
  const uint64_t root = std::bit_cast<uint64_t>(0x1.6a09e667f3bcdp-1);
  const uint64_t above = std::bit_cast<uint64_t>(x) - root;
  const int64_t shift = static_cast<int64_t>(above) >> 52;
  exponent += shift;
  const double f = std::bit_cast<double>(root + (above & 0xFFFFFFFFFFFFF)) - 1;
  // log(1 + f) = f - f^2/2 + s (f^2/2 + 2 s^2/3 + 2 s^4/5 + ...), s = f / (2 + f)
  const double s = f / (2 + f), square = s * s, half = 0.5 * f * f;
  const double terms = square * polynomial<10>(kLogarithm.data(), square);
  const double n = static_cast<double>(exponent);
  const double whole = n * kLog2, sum = whole + f;
  return sum + (((whole - sum) + f) + ((n * kLog2Rest - half) + s * (half + terms)));
}

}  // namespace eggroll::elementary
