#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "tests/support/golden_episodes.hpp"
#include "worker/control/any_action.hpp"
#include "worker/control/classic/acrobot.hpp"
#include "worker/control/classic/cart_pole.hpp"
#include "worker/control/classic/mountain_car.hpp"
#include "worker/control/classic/pendulum.hpp"

namespace eggroll {
namespace {

template <typename Environment>
class ClassicControl : public testing::Test {};
using All = testing::Types<CartPole, Pendulum, Acrobot, MountainCar, MountainCarContinuous>;
TYPED_TEST_SUITE(ClassicControl, All);

// All that an episode of at most so many steps gives.
template <typename Environment>
std::vector<double> run(Environment& environment, uint64_t seed, int steps) {
  const EnvironmentSpec spec = Environment::spec();
  std::vector<float> observation(spec.observations);
  environment.reset(seed, observation);
  std::vector<double> result(observation.begin(), observation.end());
  EpisodeRandom random(seed + 100);
  for (int i = 0; i < steps; ++i) {
    const Step step = environment.step(any_action(spec, random), observation);
    result.insert(result.end(), observation.begin(), observation.end());
    result.push_back(step.reward);
    if (step.terminated) break;
  }
  return result;
}

// All numbers of its figures.
std::vector<double> points(const Drawing& drawing) {
  std::vector<double> result;
  for (const auto& figure : drawing.figures) {
    if (const auto* polygon = std::get_if<Drawing::Polygon>(&figure))
      for (const Point& corner : polygon->corners)
        result.insert(result.end(), {corner.x, corner.y});
    if (const auto* stroke = std::get_if<Drawing::Stroke>(&figure))
      result.insert(result.end(), {stroke->from.x, stroke->from.y, stroke->to.x, stroke->to.y});
  }
  return result;
}

// Observations are fp32 of a double state that differs in last bits at most, where Gymnasium has the sine
// of a maths library; the pendulum's rewards, in double, show it: by 2.3e-12 here.
TYPED_TEST(ClassicControl, GivesWhatGymnasiumGave) {
  const std::vector<GoldenEpisode> episodes = golden_episodes(TypeParam::spec());
  ASSERT_EQ(episodes.size(), 3u);
  double reward = 0;
  TypeParam environment;
  for (const GoldenEpisode& episode : episodes) {
    ASSERT_EQ(episode.first.size(), TypeParam::spec().observations);
    ASSERT_GE(episode.steps.size(), 20u);
    const GoldenDifference difference = replay(environment, episode);
    EXPECT_EQ(difference.observations, 0u) << "by " << difference.observation;
    EXPECT_EQ(difference.terminations, 0u);
    reward = std::max(reward, difference.reward);
  }
  EXPECT_LE(reward, (std::is_same_v<TypeParam, Pendulum> ? 1e-11 : 0));
}

TYPED_TEST(ClassicControl, HasNoMemoryOfEarlierEpisodes) {
  TypeParam used;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    TypeParam fresh;
    run(used, seed + 1000, 30);
    const auto first = run(used, seed, 200), second = run(fresh, seed, 200);
    ASSERT_EQ(first.size(), second.size());
    EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size() * sizeof(double)), 0);
    for (const int steps : {200, 0}) {
      run(used, seed, steps);
      run(fresh, seed, steps);
      Drawing of_used, of_fresh;
      used.draw(of_used);
      fresh.draw(of_fresh);
      EXPECT_EQ(points(of_used), points(of_fresh));
      fresh = {};
    }
  }
}

TYPED_TEST(ClassicControl, StartsElsewhereWithEachSeed) {
  TypeParam environment;
  std::set<std::vector<double>> starts;
  for (uint64_t seed = 0; seed < 100; ++seed) starts.insert(run(environment, seed, 0));
  EXPECT_EQ(starts.size(), 100u);
}

TYPED_TEST(ClassicControl, DrawsFiguresThatMove) {
  TypeParam environment;
  run(environment, 1, 0);
  Drawing before, after;
  environment.draw(before);
  run(environment, 1, 10);
  environment.draw(after);
  ASSERT_GE(before.figures.size(), 2u);
  EXPECT_GT(before.width, 0);
  EXPECT_GT(before.height, 0);
  EXPECT_NE(points(before), points(after));
  for (const double number : points(after)) EXPECT_TRUE(std::isfinite(number));
}

// Slots of one batch are episodes of their own, and one that is left keeps what it had.
TYPED_TEST(ClassicControl, IsTheSameInASlot) {
  EachSlot<TypeParam> slots(2, [] { return TypeParam(); });
  const EnvironmentSpec& spec = slots.spec();
  std::vector<float> observations(2 * spec.observations, -7), actions(2), alone(spec.observations);
  std::vector<Step> steps(2);
  const std::vector<uint64_t> seeds = {5, 6};
  std::vector<Command> commands = {Command::leave, Command::reset};
  const Environments::Round round = {commands, seeds, actions, observations, steps};
  slots.run(round);
  commands[1] = Command::step;
  TypeParam environment;
  environment.reset(6, alone);
  for (int i = 0; i < 10; ++i) {
    slots.run(round);
    EXPECT_EQ(environment.step(std::vector<float>{0}, alone).reward, steps[1].reward);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), observations.begin() + spec.observations));
  }
  EXPECT_EQ(observations[0], -7);
}

// The return of an episode whose actions are a function of the observation, and its length.
struct Outcome {
  double sum = 0;
  uint32_t steps = 0;
  bool terminated = false;
};
template <typename Environment, typename Policy>
Outcome outcome(const Policy& policy, uint64_t seed) {
  const EnvironmentSpec spec = Environment::spec();
  Environment environment;
  std::vector<float> o(spec.observations);
  environment.reset(seed, o);
  Outcome result;
  while (!result.terminated && result.steps < spec.step_limit) {
    const Step step = environment.step(std::vector<float>{static_cast<float>(policy(o))}, o);
    result.sum += step.reward;
    result.terminated = step.terminated;
    ++result.steps;
  }
  return result;
}

TEST(CartPole, FallsUnlessItIsBalanced) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Outcome pushed = outcome<CartPole>([](const auto&) { return 1; }, seed);
    EXPECT_TRUE(pushed.terminated);
    EXPECT_LT(pushed.sum, 15);
    EXPECT_EQ(pushed.sum, pushed.steps);  // the last step too
    const Outcome balanced = outcome<CartPole>(
        [](const auto& o) { return o[2] + 0.3 * o[3] + 0.02 * o[0] + 0.06 * o[1] > 0; }, seed);
    EXPECT_FALSE(balanced.terminated);
    EXPECT_EQ(balanced.sum, 500);
  }
}

TEST(Pendulum, CostsMostWhereItHangsAndNeverEnds) {
  const Outcome left_alone = outcome<Pendulum>([](const auto&) { return 0; }, 4);
  EXPECT_FALSE(left_alone.terminated);
  EXPECT_LT(left_alone.sum, -500);
  // By energy to the top, and held there.
  const auto swing_up = [](const auto& o) -> double {
    const double energy = o[2] * o[2] / 6 + 5 * (o[0] - 1);
    if (o[0] > 0.9) return -15.0 * o[1] - 4.0 * o[2];
    return energy < 0 ? (o[2] < 0 ? -2.0 : 2.0) : 0.0;
  };
  for (uint64_t seed = 0; seed < 10; ++seed) EXPECT_GT(outcome<Pendulum>(swing_up, seed).sum, -500);
}

TEST(Acrobot, SwingsUpWhereItsElbowIsDrivenOn) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Outcome driven = outcome<Acrobot>([](const auto& o) { return o[5] > 0 ? 2 : 0; }, seed);
    EXPECT_TRUE(driven.terminated);
    EXPECT_EQ(driven.sum, 1.0 - driven.steps);  // the last step costs nothing
    EXPECT_FALSE(outcome<Acrobot>([](const auto&) { return 1; }, seed).terminated);
  }
}

TEST(MountainCar, NeedsARunUp) {
  const auto with_speed = [](const auto& o) { return o[1] < 0 ? 0 : 2; };
  const Outcome there = outcome<MountainCar>(with_speed, 1);
  EXPECT_TRUE(there.terminated);
  EXPECT_EQ(there.sum, -1.0 * there.steps);
  const Outcome straight = outcome<MountainCar>([](const auto&) { return 2; }, 1);
  EXPECT_FALSE(straight.terminated);
  EXPECT_EQ(straight.steps, 200u);
}

TEST(MountainCarContinuous, PaysForTheWholePushButFeelsItsLimit) {
  const Outcome there =
      outcome<MountainCarContinuous>([](const auto& o) { return o[1] < 0 ? -1 : 1; }, 1);
  EXPECT_TRUE(there.terminated);
  EXPECT_NEAR(there.sum, 100 - 0.1 * there.steps, 1e-9);
  MountainCarContinuous one, two;
  std::vector<float> of_one(2), of_two(2);
  one.reset(3, of_one);
  two.reset(3, of_two);
  EXPECT_DOUBLE_EQ(one.step(std::vector<float>{1}, of_one).reward, -0.1);
  EXPECT_DOUBLE_EQ(two.step(std::vector<float>{3}, of_two).reward, -0.9);
  EXPECT_EQ(of_one, of_two);
}

TEST(ClassicControlSpecs, AreThoseOfGymnasium) {
  EXPECT_EQ(CartPole::spec().step_limit, 500u);
  EXPECT_EQ(Pendulum::spec().step_limit, 200u);
  EXPECT_EQ(Acrobot::spec().step_limit, 500u);
  EXPECT_EQ(MountainCar::spec().step_limit, 200u);
  EXPECT_EQ(MountainCarContinuous::spec().step_limit, 999u);
  EXPECT_EQ(Pendulum::spec().actions(), 1u);
  EXPECT_EQ(MountainCar::spec().actions(), 1u);
}

}  // namespace
}  // namespace eggroll
