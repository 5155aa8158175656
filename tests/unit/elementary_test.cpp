#include "worker/control/elementary.hpp"

#include <gtest/gtest.h>

#include <random>

namespace eggroll {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// Units in the last place. In ten million arguments of each kind the largest were 0.84 of sin, 0.88 of
// cos, 0.81 of exp (among subnormals) and 0.92 of log.
constexpr double kBound = 0.95;

long double unit_of(long double value) {
  int exponent = 0;
  std::frexp(value, &exponent);
  return std::ldexp(1.0L, std::max(exponent - 53, -1074));
}

struct Function {
  const char* name;
  double (*ours)(double);
  long double (*reference)(long double);
};
const Function kSin = {"sin", elementary::sin, std::sin}, kCos = {"cos", elementary::cos, std::cos},
               kExp = {"exp", elementary::exp, std::exp}, kLog = {"log", elementary::log, std::log};

// The reference has 64 or more bits: an error of its own of at most 2^-10 units.
template <typename Draw>
void expect_close(const Function& of, const Draw& draw) {
  static_assert(std::numeric_limits<long double>::digits >= 64);
  std::mt19937_64 random(11);
  double most = 0, where = 0;
  for (int i = 0; i < 400000; ++i) {
    const double x = draw(random);
    const long double expected = of.reference(x);
    const auto error = static_cast<double>(std::fabs(of.ours(x) - expected) / unit_of(expected));
    if (!(error <= most)) most = error, where = x;
  }
  EXPECT_LE(most, kBound) << of.name << "(" << where << ")";
}

auto uniform(double low, double high) {
  return [=](auto& random) { return std::uniform_real_distribution<double>(low, high)(random); };
}
// Of all sizes alike, and both signs.
auto of_size(double low, double high) {
  return [=](auto& random) {
    const double size = std::exp2(uniform(low, high)(random));
    return random() % 2 == 0 ? size : -size;
  };
}
// The doubles around multiples of pi / 2, where little is left of an argument.
double around_quarters(std::mt19937_64& random) {
  const double middle = static_cast<double>(random() % 660000) * 1.5707963267948966;
  return random() % 2 == 0 ? middle : std::nextafter(middle, random() % 2 == 0 ? 1e9 : -1e9);
}
double any_positive(std::mt19937_64& random) {
  return std::bit_cast<double>(1 + random() % 0x7FEFFFFFFFFFFFFF);
}
double subnormal(std::mt19937_64& random) {
  return std::bit_cast<double>(1 + random() % 0x000FFFFFFFFFFFFF);
}

TEST(Elementary, SineAndCosineAreCloseUpToAMillion) {
  for (const Function& of : {kSin, kCos}) {
    expect_close(of, uniform(-0.8, 0.8));
    expect_close(of, uniform(-10, 10));
    expect_close(of, uniform(-1e5, 1e5));
    expect_close(of, of_size(-60, 20));
    expect_close(of, around_quarters);
  }
}

TEST(Elementary, ExponentialIsCloseWhereItIsFinite) {
  expect_close(kExp, uniform(-0.4, 0.4));
  expect_close(kExp, uniform(-745, 709.7));
  expect_close(kExp, uniform(-745, -708));  // subnormal
  expect_close(kExp, of_size(-60, 9));
}

TEST(Elementary, LogarithmIsCloseEverywhere) {
  expect_close(kLog, uniform(0.5, 2));
  expect_close(kLog, any_positive);
  expect_close(kLog, subnormal);
  expect_close(kLog, [](auto& random) { return 1 + of_size(-52, -1)(random); });
}

TEST(Elementary, SineAndCosineBeyondStayWithinOneAndHaveThePeriodOfADouble) {
  constexpr double kPeriod = 0x1.921fb54442d18p+2;
  std::mt19937_64 random(12);
  for (int i = 0; i < 100000; ++i) {
    const double x = of_size(20, 1023.9)(random);
    EXPECT_LE(std::fabs(elementary::sin(x)), 1);
    EXPECT_EQ(elementary::sin(x), elementary::sin(std::fmod(x, kPeriod)));
    EXPECT_EQ(elementary::cos(x), elementary::cos(std::fmod(x, kPeriod)));
  }
  for (const double x : {0x1p20, 1e7, 1e9})
    EXPECT_NEAR(elementary::sin(x), std::sin(x), std::ldexp(x, -53));
}

TEST(Elementary, KnowsSpecialValues) {
  for (const double x : {kNaN, -kNaN, kInfinity, -kInfinity}) {
    EXPECT_TRUE(std::isnan(elementary::sin(x)));
    EXPECT_TRUE(std::isnan(elementary::cos(x)));
  }
  EXPECT_EQ(elementary::sin(0.0), 0);
  EXPECT_TRUE(std::signbit(elementary::sin(-0.0)));
  EXPECT_EQ(elementary::sin(5e-324), 5e-324);
  EXPECT_EQ(elementary::cos(0.0), 1);
  EXPECT_EQ(elementary::cos(-1e-300), 1);
  EXPECT_EQ(elementary::sin(-1.25), -elementary::sin(1.25));
  EXPECT_EQ(elementary::cos(-4), elementary::cos(4));

  EXPECT_TRUE(std::isnan(elementary::exp(kNaN)));
  EXPECT_EQ(elementary::exp(kInfinity), kInfinity);
  EXPECT_EQ(elementary::exp(-kInfinity), 0);
  EXPECT_EQ(elementary::exp(0), 1);
  EXPECT_EQ(elementary::exp(1e-300), 1);
  EXPECT_EQ(elementary::exp(0x1.62e42fefa39efp+9), 0x1.fffffffffff2ap+1023);  // the last finite one
  EXPECT_EQ(elementary::exp(0x1.62e42fefa39fp+9), kInfinity);
  EXPECT_EQ(elementary::exp(-745.1), 5e-324);
  EXPECT_EQ(elementary::exp(-745.2), 0);
  EXPECT_EQ(elementary::exp(1e308), kInfinity);
  EXPECT_EQ(elementary::exp(-1e308), 0);

  EXPECT_TRUE(std::isnan(elementary::log(kNaN)));
  EXPECT_TRUE(std::isnan(elementary::log(-1)));
  EXPECT_TRUE(std::isnan(elementary::log(-kInfinity)));
  EXPECT_EQ(elementary::log(kInfinity), kInfinity);
  EXPECT_EQ(elementary::log(0.0), -kInfinity);
  EXPECT_EQ(elementary::log(-0.0), -kInfinity);
  EXPECT_EQ(elementary::log(1), 0);
  EXPECT_FALSE(std::signbit(elementary::log(1)));
}

// Bits that this file promises for every machine; tests/gymnasium/elementary.py has the same.
TEST(Elementary, HasPinnedBits) {
  struct Circle {
    double x, sine, cosine;
  };
  for (const auto& [x, sine, cosine] :
       std::vector<Circle>{{0.1, 0x1.98eaecb8bcb2cp-4, 0x1.fd712f9a817c1p-1},
                           {1, 0x1.aed548f090ceep-1, 0x1.14a280fb5068cp-1},
                           {3, 0x1.210386db6d55bp-3, -0x1.fae04be85e5d2p-1},
                           {-22.5, 0x1.f2dde019d9bc7p-2, -0x1.bf21c9294b1c4p-1},
                           {1234.5678, 0x1.3fa00084ee3ddp-4, -0x1.fe7053dc31387p-1},
                           {99999, 0x1.b8727670dd45p-1, -0x1.050e628324337p-1},
                           {1e300, -0x1.52ec076f4df9dp-1, 0x1.7fc3f18dde1dap-1}}) {
    EXPECT_EQ(elementary::sin(x), sine) << x;
    EXPECT_EQ(elementary::cos(x), cosine) << x;
  }
  struct Value {
    double x, result;
  };
  for (const auto& [x, result] : std::vector<Value>{{0.1, 0x1.1aec7b35a00d4p+0},
                                                    {1, 0x1.5bf0a8b145769p+1},
                                                    {-3, 0x1.97db0ccceb0afp-5},
                                                    {22.5, 0x1.604b68cf05f66p+32},
                                                    {-700.25, 0x1.af5fe9a485c8ep-1011},
                                                    {-740, 0x0.0000000000055p-1022}})
    EXPECT_EQ(elementary::exp(x), result) << x;
  for (const auto& [x, result] : std::vector<Value>{{0.1, -0x1.26bb1bbb55515p+1},
                                                    {0.9999, -0x1.a3738d2cf1cc2p-14},
                                                    {3, 0x1.193ea7aad030bp+0},
                                                    {1e-310, -0x1.64e69394d9508p+9},
                                                    {12345.678, 0x1.2d79559791e31p+3},
                                                    {1e300, 0x1.5963447f87fb5p+9}})
    EXPECT_EQ(elementary::log(x), result) << x;
  // And of many arguments of all sizes.
  std::mt19937_64 random(3);
  uint64_t digest = 0;
  const auto take = [&](double value) {
    digest = digest * 0x9E3779B97F4A7C15 + std::bit_cast<uint64_t>(value);
    digest ^= digest >> 29;
  };
  for (int i = 0; i < 1000000; ++i) {
    const auto wild = std::bit_cast<double>(random());
    const double tame = static_cast<double>(static_cast<int64_t>(random())) * 0x1p-58;
    for (const double x : {wild, tame})
      for (const Function& of : {kSin, kCos, kExp, kLog}) take(of.ours(x));
  }
  EXPECT_EQ(digest, 0x8408c95dde4dbc09);
}

}  // namespace
}  // namespace eggroll
