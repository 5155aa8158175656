// LunarLander and BipedalWalker against what Gymnasium gave, and by what they promise.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <thread>

#include "tests/support/golden_episodes.hpp"
#include "worker/control/any_action.hpp"
#include "worker/control/box2d/bipedal_walker.hpp"
#include "worker/control/box2d/lunar_lander.hpp"

namespace eggroll {
namespace {

struct DiscreteLander : LunarLander {
  DiscreteLander() : LunarLander(Actions::discrete) {}
};
struct ContinuousLander : LunarLander {
  ContinuousLander() : LunarLander(Actions::continuous) {}
};

template <typename Environment>
class Box2d : public testing::Test {};
using All = testing::Types<DiscreteLander, ContinuousLander, BipedalWalker>;
TYPED_TEST_SUITE(Box2d, All);

// An episode of its own actions, that goes on where one left it.
template <typename Environment>
struct Episode {
  Environment& environment;
  EnvironmentSpec spec;
  EpisodeRandom random;
  std::vector<double> all;  // observations and rewards
  std::vector<float> observation;
  bool is_over = false;

  Episode(Environment& in, uint64_t seed)
      : environment(in), spec(in.spec()), random(seed + 100), observation(spec.observations) {
    environment.reset(seed, observation);
    all.assign(observation.begin(), observation.end());
  }
  void go(int steps) {
    for (int i = 0; i < steps && !is_over; ++i) {
      const Step step = environment.step(any_action(spec, random), observation);
      all.insert(all.end(), observation.begin(), observation.end());
      all.push_back(step.reward);
      EXPECT_FALSE(step.failed);
      is_over = step.terminated;
    }
  }
};

template <typename Environment>
std::vector<double> run(Environment& environment, uint64_t seed, int steps) {
  Episode episode(environment, seed);
  episode.go(steps);
  return episode.all;
}

bool is_same(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

// How far Box2D 2.4.1 is from Gymnasium's 2.3 at most, in the golden episodes: seen, and doubled. A lander
// ends before its first contact. The walker stands from the start on, and its knees are drawn apart and
// driven to their limits in the first steps, where the two versions differ.
struct Apart {
  double start, early, early_reward, observation, reward;  // early: within ten steps
};
constexpr Apart kLanderApart = {5e-4, 5e-4, 8e-3, 1.6e-2, 0.12};
constexpr Apart kWalkerApart = {4e-6, 8e-2, 2.6e-3, 8e-2, 2.6e-3};

TYPED_TEST(Box2d, GivesWhatGymnasiumGaveButForItsPhysics) {
  TypeParam environment;
  const EnvironmentSpec spec = environment.spec();
  const bool is_walker = spec.observations == 24;
  const Apart apart = is_walker ? kWalkerApart : kLanderApart;
  const std::vector<GoldenEpisode> episodes = golden_episodes(spec);
  ASSERT_EQ(episodes.size(), 3u);
  for (const GoldenEpisode& episode : episodes) {
    ASSERT_EQ(episode.first.size(), spec.observations);
    ASSERT_GE(episode.steps.size(), is_walker ? 10u : 80u);
    const GoldenDifference start = replay(environment, episode, 0);
    const GoldenDifference early = replay(environment, episode, 10);
    const GoldenDifference whole = replay(environment, episode);
    EXPECT_LE(start.observation, apart.start);
    EXPECT_LE(early.observation, apart.early);
    EXPECT_LE(early.reward, apart.early_reward);
    EXPECT_LE(whole.observation, apart.observation);
    EXPECT_LE(whole.reward, apart.reward);
    EXPECT_EQ(whole.terminations, 0u);
  }
}

TYPED_TEST(Box2d, IsOfGymnasiumsNamesAndSizes) {
  const EnvironmentSpec spec = TypeParam().spec();
  const auto is = [&](const char* name, uint32_t observations, uint32_t choices, size_t numbers,
                      uint32_t steps) {
    return spec.name == name && spec.observations == observations && spec.choices == choices &&
           spec.low == std::vector<float>(numbers, -1) &&
           spec.high == std::vector<float>(numbers, 1) && spec.step_limit == steps;
  };
  EXPECT_TRUE(is("LunarLander-v3", 8, 4, 0, 1000) ||
              is("LunarLanderContinuous-v3", 8, 0, 2, 1000) ||
              is("BipedalWalker-v3", 24, 0, 4, 1600));
}

TYPED_TEST(Box2d, HasNoMemoryOfEarlierEpisodes) {
  TypeParam used;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    TypeParam fresh;
    run(used, seed + 1000, 150);
    EXPECT_TRUE(is_same(run(used, seed, 400), run(fresh, seed, 400))) << seed;
  }
}

TYPED_TEST(Box2d, IsNotDisturbedByOthers) {
  TypeParam one, other, alone;
  Episode first(one, 1), second(other, 2);
  for (int i = 0; i < 300; ++i) first.go(1), second.go(1);
  EXPECT_TRUE(is_same(first.all, run(alone, 1, 300)));
  EXPECT_TRUE(is_same(second.all, run(alone, 2, 300)));
}

TYPED_TEST(Box2d, IsTheSameInSeveralThreads) {
  constexpr int kThreads = 4, kEpisodes = 5;
  std::vector<std::vector<double>> results(kThreads);
  std::vector<std::jthread> threads;
  for (std::vector<double>& result : results)
    threads.emplace_back([&result] {
      TypeParam environment;
      for (uint64_t seed = 0; seed < kEpisodes; ++seed) {
        const std::vector<double> episode = run(environment, seed, 300);
        result.insert(result.end(), episode.begin(), episode.end());
      }
    });
  threads.clear();
  for (const std::vector<double>& result : results) EXPECT_TRUE(is_same(result, results[0]));
}

TYPED_TEST(Box2d, IsFiniteAndElsewhereWithEachSeed) {
  TypeParam environment;
  std::set<std::vector<double>> starts;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    starts.insert(run(environment, seed, 0));
    for (const double number : run(environment, seed, 1600)) ASSERT_TRUE(std::isfinite(number));
  }
  EXPECT_EQ(starts.size(), 20u);
}

TYPED_TEST(Box2d, FailsOrGoesOnWithoutNaNWhereAnActionIsNone) {
  TypeParam environment;
  const EnvironmentSpec spec = environment.spec();
  if (spec.choices > 0) return;  // they are whole numbers
  for (const float number : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
    std::vector<float> observation(spec.observations);
    environment.reset(1, observation);
    Step step;
    for (int i = 0; i < 50 && !step.terminated; ++i) {
      step = environment.step(std::vector<float>(spec.actions(), number), observation);
      for (const float each : observation) ASSERT_TRUE(std::isfinite(each));
      ASSERT_TRUE(std::isfinite(step.reward));
    }
    EXPECT_EQ(step.failed, spec.observations == 24 && std::isnan(number));
  }
}

TYPED_TEST(Box2d, IsTheSameInASlot) {
  EachSlot<TypeParam> slots(3, [] { return TypeParam(); });
  const EnvironmentSpec& spec = slots.spec();
  const size_t in = spec.observations, out = spec.actions();
  std::vector<float> observations(3 * in, -7), actions(3 * out, 1), alone(in);
  std::vector<Step> steps(3);
  const std::vector<uint64_t> seeds = {5, 6, 7};
  std::vector<Command> commands = {Command::leave, Command::reset, Command::reset};
  const Environments::Round round = {commands, seeds, actions, observations, steps};
  slots.run(round);
  commands = {Command::reset, Command::step, Command::leave};
  slots.run(round);
  commands = {Command::leave, Command::step, Command::leave};
  slots.run(round);
  TypeParam environment;
  for (const size_t slot : {0, 1, 2}) {
    environment.reset(seeds[slot], alone);
    Step step;
    for (int i = 0; i < (slot == 1 ? 2 : 0); ++i)
      step = environment.step(std::vector<float>(out, 1), alone);
    EXPECT_EQ(std::memcmp(alone.data(), observations.data() + slot * in, in * sizeof(float)), 0);
    EXPECT_EQ(step.reward, steps[slot].reward);
  }
}

TYPED_TEST(Box2d, DrawsFiguresThatMove) {
  TypeParam environment;
  const auto points = [&] {
    Drawing drawing;
    environment.draw(drawing);
    EXPECT_GE(drawing.figures.size(), 5u);
    EXPECT_GT(std::min(drawing.width, drawing.height), 0);
    std::vector<double> result;
    for (const auto& figure : drawing.figures)
      if (const auto* polygon = std::get_if<Drawing::Polygon>(&figure))
        for (const Point& corner : polygon->corners) {
          EXPECT_TRUE(std::isfinite(corner.x) && std::isfinite(corner.y));
          result.insert(result.end(), {corner.x, corner.y});
        }
    return result;
  };
  run(environment, 1, 0);
  const auto before = points();
  run(environment, 1, 10);
  EXPECT_NE(before, points());
}

// What of a lander's engines is wanted, of [-1, 1] each: to be over `goal`, upright, and then to come
// down, the slower the lower; legs that stand are left alone.
struct Wish {
  double main, side;
};
Wish pilot(const std::vector<float>& seen, double goal) {
  const double x = 10 * (seen[0] - goal), height = 20.0 / 3 * seen[1];
  const double along = 5 * seen[2], rise = 7.5 * seen[3];
  const double spin = 2.5 * seen[5];
  if (seen[6] + seen[7] > 0) return {rise < -0.3 ? 1.0 : -1.0, 0};
  const double lean = std::clamp(0.035 * x + 0.11 * along, -0.35, 0.35);
  const double wanted_rise = -0.25 - 0.5 * std::max(height - 0.3 * std::fabs(x), -0.4);
  return {wanted_rise - rise, -4 * (lean - seen[4] - 0.7 * spin)};
}
std::vector<float> action_of(const EnvironmentSpec& spec, const Wish& wish) {
  if (spec.choices == 0)
    return {static_cast<float>(std::clamp(wish.main, -1.0, 1.0)),
            static_cast<float>(std::clamp(wish.side, -1.0, 1.0))};
  if (wish.main > 0 && wish.main > std::fabs(wish.side) - 1) return {2};
  return {wish.side > 0.2 ? 3.0f : wish.side < -0.2 ? 1.0f : 0.0f};
}

struct Flight {
  double total = 0;
  Step last = {};
  std::vector<float> seen = std::vector<float>(8);
  bool stood = false;  // a leg before the last step
};
template <typename Rule>
Flight fly(LunarLander& lander, uint64_t seed, const Rule& rule) {
  Flight flight;
  const EnvironmentSpec spec = lander.spec();
  lander.reset(seed, flight.seen);
  for (int i = 0; i < 1000 && !flight.last.terminated; ++i) {
    flight.stood |= flight.seen[6] + flight.seen[7] > 0;
    flight.last = lander.step(action_of(spec, rule(flight.seen)), flight.seen);
    flight.total += flight.last.reward;
  }
  return flight;
}

TEST(LunarLander, IsLandedByASimplePilot) {
  for (const auto actions : {LunarLander::Actions::discrete, LunarLander::Actions::continuous}) {
    LunarLander lander(actions);
    double total = 0;
    int rests = 0, on_both_legs = 0;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Flight flight = fly(lander, seed, [](const auto& seen) { return pilot(seen, 0); });
      total += flight.total;
      rests += flight.last.terminated && flight.last.reward == 100;
      on_both_legs += flight.seen[6] == 1 && flight.seen[7] == 1;
    }
    EXPECT_GT(total / 20, 200) << lander.spec().name;
    EXPECT_GE(rests, 18) << lander.spec().name;
    EXPECT_GE(on_both_legs, 10) << lander.spec().name;
  }
}

TEST(LunarLander, CrashesWithoutEngines) {
  LunarLander lander(LunarLander::Actions::discrete);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Flight flight = fly(lander, seed, [](const auto&) { return Wish{-1, 0}; });
    EXPECT_TRUE(flight.last.terminated && flight.last.reward == -100);
    EXPECT_LT(flight.total, 0);
  }
}

TEST(LunarLander, MayNotLeaveToASide) {
  LunarLander lander(LunarLander::Actions::continuous);
  for (const double goal : {-3.0, 3.0}) {
    const Flight flight = fly(lander, 1, [&](const auto& seen) { return pilot(seen, goal); });
    EXPECT_TRUE(flight.last.terminated && flight.last.reward == -100);
    EXPECT_GE(flight.seen[0] * goal, 3);
    EXPECT_FALSE(flight.stood);
  }
}

TEST(LunarLander, PaysForFuel) {
  std::vector<float> seen(8);
  const auto reward = [&](LunarLander::Actions actions, const std::vector<float>& action) {
    LunarLander lander(actions);
    lander.reset(1, seen);
    const auto potential = [&] {
      return -100.0 * (std::hypot(seen[0], seen[1]) + std::hypot(seen[2], seen[3]) +
                       std::fabs(seen[4])) +
             10 * seen[6] + 10 * seen[7];
    };
    const double before = potential();
    const double reward = lander.step(action, seen).reward;
    return reward - (potential() - before);
  };
  using enum LunarLander::Actions;
  constexpr double kRounding = 1e-4;  // of observations to fp32
  EXPECT_NEAR(reward(discrete, {0}), 0, kRounding);
  EXPECT_NEAR(reward(discrete, {1}), -0.03, kRounding);
  EXPECT_NEAR(reward(discrete, {2}), -0.3, kRounding);
  EXPECT_NEAR(reward(discrete, {3}), -0.03, kRounding);
  EXPECT_NEAR(reward(continuous, {-1, 0.5}), 0, kRounding);
  EXPECT_NEAR(reward(continuous, {0, -0.75}), -0.0225, kRounding);
  EXPECT_NEAR(reward(continuous, {0.5, 7}), -0.225 - 0.03, kRounding);
}

// The left and the right one each.
TEST(LunarLander, FeelsItsLegs) {
  LunarLander lander(LunarLander::Actions::discrete);
  bool stood_on[4] = {};
  for (uint64_t seed = 0; seed < 20; ++seed)
    fly(lander, seed, [&](const auto& seen) {
      stood_on[static_cast<int>(seen[6] + 2 * seen[7])] = true;
      EXPECT_TRUE(seen[6] + seen[7] == 0 || seen[1] < 0.2);
      return pilot(seen, 0);
    });
  for (const bool each : stood_on) EXPECT_TRUE(each);
}

// The hull's place, which the view follows.
double place(const BipedalWalker& walker) {
  Drawing drawing;
  walker.draw(drawing);
  return drawing.centre.x;
}

TEST(BipedalWalker, IsPaidForTheWayToTheRightAndPaysForTorque) {
  BipedalWalker walker;
  std::vector<float> seen(24);
  for (uint64_t seed = 0; seed < 5; ++seed) {
    walker.reset(seed, seen);
    EpisodeRandom random(seed);
    for (int i = 0; i < 200; ++i) {
      const double from = place(walker), angle = seen[0];
      const std::vector<float> action = any_action(walker.spec(), random);
      const Step step = walker.step(action, seen);
      if (step.terminated) break;
      double expected =
          130.0 / 30 * (place(walker) - from) - 5 * (std::fabs(double{seen[0]}) - std::fabs(angle));
      for (const float each : action) expected -= 0.028 * std::fabs(double{each});
      EXPECT_NEAR(step.reward, expected, 1e-5);
    }
  }
}

TEST(BipedalWalker, EndsWhereItsHullTouchesTheGround) {
  BipedalWalker walker;
  std::vector<float> seen(24);
  for (uint64_t seed = 0; seed < 10; ++seed) {
    walker.reset(seed, seen);
    Step step;
    int steps = 0;
    for (; steps < 1600 && !step.terminated; ++steps)
      step = walker.step(std::vector<float>(4, 0), seen);  // it sinks down
    EXPECT_TRUE(step.terminated && step.reward == -100);
    EXPECT_GT(steps, 20);
  }
}

TEST(BipedalWalker, SeesTheGroundItStandsOn) {
  BipedalWalker walker;
  std::vector<float> seen(24);
  walker.reset(3, seen);
  EXPECT_TRUE(seen[8] == 1 && seen[13] == 1);
  for (int ray = 1; ray < 10; ++ray) EXPECT_GE(seen[14 + ray], seen[14 + ray - 1]);
  EXPECT_NEAR(seen[14 + 5], seen[14] / std::cos(0.75), 1e-3) << "the start is flat";
  EXPECT_EQ(seen[23], 1) << "almost forwards, it sees nothing";
}

TEST(PlanarWorld, SaysThatItsStateIsNotFinite) {
  PlanarWorld world;
  const size_t box = world.add(PlanarWorld::Body{.half_size = {1, 1}});
  EXPECT_TRUE(world.step());
  world.strike(box, {std::numeric_limits<double>::quiet_NaN(), 0}, {0, 0});
  EXPECT_FALSE(world.step());
}

}  // namespace
}  // namespace eggroll
