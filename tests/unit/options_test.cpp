// Rows of options and schedules by themselves.
#include "common/options.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include "common/schedule.hpp"

namespace eggroll {
namespace {

enum class Fruit { apple, pear };

}  // namespace
template <>
inline constexpr std::array<std::string_view, 2> kNames<Fruit> = {"apple", "pear"};
namespace {

struct Settings {
  uint8_t small = 7;
  double share = 0.25;
  Fruit fruit = Fruit::pear;
  std::string place;
  bool loud = false;
  GenerationSpan span = {50, true};
  void declare(Options& to) {
    to.number("small", small, 2, 200, "a small number");
    to.number("share", share, 0, 1, "a share");
    to.choice("fruit", fruit, "a fruit");
    to.path("place", place, "DIR", "a place");
    to.flag("loud", loud, "whether it is loud");
    add_span(to, "span", span, "how long");
  }
};

TEST(Options, ReadWhatTheyWrite) {
  Settings settings;
  Options rows;
  settings.declare(rows);
  EXPECT_EQ(rows.texts(), (OptionTexts{{"small", "7"},
                                       {"share", "0.25"},
                                       {"fruit", "pear"},
                                       {"place", ""},
                                       {"loud", "false"},
                                       {"span", "50%"}}));
  const auto read = read_settings<Settings>({{"small", "200"},
                                             {"share", "1e-3"},
                                             {"fruit", "apple"},
                                             {"place", "a b"},
                                             {"loud", "true"},
                                             {"span", "12.5"},
                                             {"of others", "x"}});
  EXPECT_EQ(read.small, 200);
  EXPECT_EQ(read.share, 0.001);
  EXPECT_EQ(read.fruit, Fruit::apple);
  EXPECT_EQ(read.place, "a b");
  EXPECT_TRUE(read.loud);
  EXPECT_EQ(read.span, (GenerationSpan{12.5, false}));
}

TEST(Options, LeaveAFieldAloneWhereATextIsNotAllowed) {
  Settings settings;
  Options rows;
  settings.declare(rows);
  for (const auto& [name, text] :
       std::initializer_list<std::pair<const char*, const char*>>{{"small", "1"},
                                                                  {"small", "201"},
                                                                  {"small", "257"},
                                                                  {"small", ""},
                                                                  {"small", "7 "},
                                                                  {"share", "nan"},
                                                                  {"share", "1.01"},
                                                                  {"share", "0,5"},
                                                                  {"fruit", "Apple"},
                                                                  {"fruit", ""},
                                                                  {"place", ""},
                                                                  {"place", "a\nb"},
                                                                  {"loud", "yes"},
                                                                  {"span", "%"},
                                                                  {"span", "0"},
                                                                  {"span", "1e13"}})
    EXPECT_FALSE(rows.find(name)->set(text)) << name << " = " << text;
  const OptionTexts before = rows.texts();
  Settings untouched;
  Options others;
  untouched.declare(others);
  EXPECT_EQ(before, others.texts());
}

TEST(Options, RefuseATextWithItsNameAndWhatIsAllowed) {
  try {
    read_settings<Settings>({{"small", "1"}});
    FAIL();
  } catch (const OptionError& error) {
    EXPECT_STREQ(error.what(), "small = 1: allowed are whole numbers from 2 to 200");
    EXPECT_STREQ(error.from("x.ini line 3").what(),
                 "small = 1 (x.ini line 3): allowed are whole numbers from 2 to 200");
  }
}

TEST(Options, NumbersAreShortAndReadBackTheSame) {
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(1000), "1000");
  EXPECT_EQ(number_text(1e-6), "1e-06");
  EXPECT_EQ(number_text(0), "0");
  std::mt19937_64 random(3);
  for (int i = 0; i < 2000; ++i) {
    const uint64_t bits = random();
    double value = 0, read = 0;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    EXPECT_TRUE(read_number(number_text(value), read)) << number_text(value);
    EXPECT_EQ(read, value);
  }
}

TEST(Options, PinAPercentageWhereItWas) {
  Settings settings;
  Options rows;
  settings.declare(rows);
  rows.find("span")->pin(300);
  EXPECT_EQ(settings.span, (GenerationSpan{150, false}));
  rows.find("span")->pin(10);
  EXPECT_EQ(settings.span, (GenerationSpan{150, false}));
  EXPECT_FALSE(rows.find("share")->pin);
}

TEST(Schedule, GoesFromItsStartToItsEndAndStaysThere) {
  const auto at = [](Course course, uint64_t generation) {
    return Schedule{8, course, 0.25, {50, true}}.at(generation, 200);
  };
  for (const uint64_t g : {0, 1, 50, 100, 1000}) EXPECT_EQ(at(Course::constant, g), 8);
  for (const Course course : {Course::linear, Course::exponential, Course::cosine}) {
    EXPECT_EQ(at(course, 0), 8);
    EXPECT_DOUBLE_EQ(at(course, 100), 2);
    EXPECT_DOUBLE_EQ(at(course, 199), 2);
    for (uint64_t g = 1; g <= 100; ++g) EXPECT_LT(at(course, g), at(course, g - 1));
  }
  EXPECT_DOUBLE_EQ(at(Course::linear, 50), 5);
  EXPECT_DOUBLE_EQ(at(Course::exponential, 50), 4);
  EXPECT_DOUBLE_EQ(at(Course::cosine, 50), 5);
  EXPECT_NEAR(at(Course::cosine, 25), 2 + 6 * 0.853553390593, 1e-9);
}

TEST(Schedule, HasTheFunctionsOfTheMathsLibrary) {
  for (int i = 0; i <= 10000; ++i) {
    const double u = i / 10000.0;
    ASSERT_NEAR(cos_pi(u), std::cos(3.14159265358979323846 * u), 1e-15) << u;
    for (const double x : {1e-9, 0.1, 0.25, 0.7, 1.0})
      ASSERT_NEAR(power(x, u) / std::pow(x, u), 1, 1e-14) << x << " to the power of " << u;
  }
  // On every machine.
  EXPECT_EQ(power(0.1, 0.3), 0x1.009b9cf33424dp-1);
  EXPECT_EQ(power(1e-9, 1 / 3.), 0x1.0624dd2f1a9f9p-10);
  EXPECT_EQ(cos_pi(0.3), 0x1.2cf2304755a5ep-1);
  EXPECT_EQ(power(0.3, 0), 1);
  EXPECT_EQ(power(0.3, 1), 0.3);
  EXPECT_NEAR(power(0.3, 1e-12), 1 + 1e-12 * std::log(0.3), 1e-14);
  EXPECT_EQ(cos_pi(0.5), 0);
}

TEST(Schedule, IsFourRows) {
  Schedule schedule = {0.01};
  Options rows;
  schedule.declare(rows, "rate", 1e-6, 10, "size of a step");
  for (const auto& [name, text] : OptionTexts{{"rate", "0.5"},
                                              {"rate-schedule", "cosine"},
                                              {"rate-end", "0.001"},
                                              {"rate-over", "20"}})
    EXPECT_TRUE(rows.find(name)->set(text)) << name;
  EXPECT_EQ(schedule.start, 0.5);
  EXPECT_EQ(schedule.course, Course::cosine);
  EXPECT_EQ(schedule.end, 0.001);
  EXPECT_EQ(schedule.over, (GenerationSpan{20, false}));
}

}  // namespace
}  // namespace eggroll
