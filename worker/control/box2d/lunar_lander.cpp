#include "worker/control/box2d/lunar_lander.hpp"

#include <algorithm>
#include <cmath>

#include "worker/control/elementary.hpp"

namespace eggroll {
namespace {

// Metres, from the pixels that the task was made in.
constexpr double kPixels = 30;
constexpr double kWidth = 600 / kPixels, kHeight = 400 / kPixels;
constexpr double kPad = kHeight / 4;  // its height; from the 4th to the 6th corner of the surface
constexpr double kSteps = 50;         // a second

constexpr Point kHull[] = {{-14, 17}, {-17, 0}, {-17, -10}, {17, -10}, {17, 0}, {14, 17}};
constexpr double kLegAside = 20 / kPixels, kLegDown = 18 / kPixels;
constexpr double kPush = 1000;  // N at most, in the first step

constexpr double kMainImpulse = 13, kSideImpulse = 0.6;  // of full power, a metre of the lever
constexpr double kMainBelow = 4 / kPixels;
constexpr double kSideAway = 12 / kPixels;
// The side engines sit at this height, but for the x of where they strike, which is of another: with
// the lander tilted they turn it differently. So it is in Gymnasium.
constexpr double kSideHeight = 14 / kPixels, kSideHeightOfX = 17 / kPixels;

enum Bodies : size_t { kLander, kLeg0, kLeg1 };  // as they are added

}  // namespace

EnvironmentSpec LunarLander::spec() const {
  if (actions_ == Actions::discrete)
    return {.name = "LunarLander-v3", .observations = 8, .choices = 4, .step_limit = 1000};
  return {.name = "LunarLanderContinuous-v3",
          .observations = 8,
          .low = {-1, -1},
          .high = {1, 1},
          .step_limit = 1000};
}

void LunarLander::reset(uint64_t seed, std::span<float> observation) {
  world_ = PlanarWorld();
  random_ = EpisodeRandom(seed);

  // 1. The surface: a flat pad in the middle of random heights, smoothed by their neighbours; the one
  //    to the left of the first is the last.
  constexpr size_t kCorners = std::tuple_size_v<decltype(surface_)>;
  std::array<double, kCorners + 1> heights;
  for (double& height : heights) height = random_.uniform(0, kHeight / 2);
  for (size_t i = kCorners / 2 - 2; i <= kCorners / 2 + 2; ++i) heights[i] = kPad;
  for (size_t i = 0; i < kCorners; ++i) {
    const double before = heights[i == 0 ? kCorners : i - 1];
    surface_[i] = {kWidth / (kCorners - 1) * static_cast<double>(i),
                   0.33 * (before + heights[i] + heights[i + 1])};
  }
  world_.add_ground(std::array<Point, 2>{{{0, 0}, {kWidth, 0}}}, 0.2);
  world_.add_ground(surface_, 0.1);

  // 2. The lander, and the push.
  const Point start = {kWidth / 2, kHeight};
  std::vector<Point> hull;
  for (const Point& corner : kHull) hull.push_back({corner.x / kPixels, corner.y / kPixels});
  world_.add(PlanarWorld::Body{
      .corners = std::move(hull), .position = start, .density = 5, .friction = 0.1});
  const double push_x = random_.uniform(-kPush, kPush), push_y = random_.uniform(-kPush, kPush);
  world_.push(kLander, {push_x, push_y});

  // 3. The legs, on springs: motors that press them outwards, up to their limits.
  for (const double side : {-1.0, 1.0}) {
    const size_t leg =
        world_.add(PlanarWorld::Body{.half_size = {2 / kPixels, 8 / kPixels},
                                     .position = {start.x - side * kLegAside, start.y},
                                     .angle = side * 0.05});
    world_.add(PlanarWorld::Hinge{.first = kLander,
                                  .second = leg,
                                  .at_first = {0, 0},
                                  .at_second = {side * kLegAside, kLegDown},
                                  .low = side < 0 ? 0.9 - 0.5 : -0.9,
                                  .high = side < 0 ? 0.9 : -0.9 + 0.5,
                                  .speed = 0.3 * side,
                                  .torque = 40});
  }

  // 4. A step without engines, in which the push acts.
  advance({}, observation);
}

Step LunarLander::step(std::span<const float> action, std::span<float> observation) {
  return advance(engines_of(action), observation);
}

LunarLander::Engines LunarLander::engines_of(std::span<const float> action) const {
  Engines engines;
  if (actions_ == Actions::discrete) {
    const int choice = static_cast<int>(action[0]);
    if (choice == 2) engines.main = 1;
    if (choice == 1 || choice == 3) engines.side = 1, engines.direction = choice - 2;
  } else {
    const double main = std::clamp<double>(action[0], -1, 1);
    const double side = std::clamp<double>(action[1], -1, 1);
    if (main > 0) engines.main = (main + 1) * 0.5;
    if (std::fabs(side) > 0.5)
      engines.side = std::fabs(side), engines.direction = side < 0 ? -1 : 1;
  }
  return engines;
}

// An engine drives matter out at a random offset, and strikes the lander there the other way.
void LunarLander::fire(const Engines& engines) {
  const double angle = world_.angle(kLander);
  const double sine = elementary::sin(angle), cosine = elementary::cos(angle);
  const double across = random_.uniform(-1, 1) / kPixels, along = random_.uniform(-1, 1) / kPixels;
  const auto strike = [&](double down, double aside, double impulse, Point away) {
    const Point lever = {sine * down - cosine * aside, -cosine * down - sine * aside};
    const Point centre = world_.position(kLander);
    world_.strike(kLander, {-lever.x * impulse, -lever.y * impulse},
                  {centre.x + lever.x + away.x, centre.y + lever.y + away.y});
  };
  if (engines.main > 0) strike(kMainBelow + 2 * across, along, kMainImpulse * engines.main, {0, 0});
  if (engines.side > 0)
    strike(across, 3 * along + engines.direction * kSideAway, kSideImpulse * engines.side,
           {-sine * kSideHeightOfX, cosine * kSideHeight});
}

Step LunarLander::advance(const Engines& engines, std::span<float> observation) {
  engines_ = engines;
  fire(engines);
  if (!world_.step()) {
    std::ranges::fill(observation, 0.0f);
    return {.terminated = true, .failed = true};
  }
  const Point at = world_.position(kLander), velocity = world_.velocity(kLander);
  const double state[] = {(at.x - kWidth / 2) / (kWidth / 2),
                          (at.y - (kPad + kLegDown)) / (kHeight / 2),
                          velocity.x * (kWidth / 2) / kSteps,
                          velocity.y * (kHeight / 2) / kSteps,
                          world_.angle(kLander),
                          20 * world_.spin(kLander) / kSteps,
                          world_.is_on_ground(kLeg0) ? 1.0 : 0.0,
                          world_.is_on_ground(kLeg1) ? 1.0 : 0.0};
  for (size_t i = 0; i < std::size(state); ++i) observation[i] = static_cast<float>(state[i]);

  // Nearer, slower, more upright and on its legs is better; fuel costs.
  const double potential = -100 * std::sqrt(state[0] * state[0] + state[1] * state[1]) -
                           100 * std::sqrt(state[2] * state[2] + state[3] * state[3]) -
                           100 * std::fabs(state[4]) + 10 * state[6] + 10 * state[7];
  Step step = {.reward = potential - potential_};
  potential_ = potential;
  step.reward -= engines.main * 0.3;
  step.reward -= engines.side * 0.03;
  if (world_.has_touched(kLander) || std::fabs(state[0]) >= 1)
    step = {.reward = -100, .terminated = true};
  if (!world_.is_awake(kLander)) step = {.reward = 100, .terminated = true};
  return step;
}

void LunarLander::draw(Drawing& to) const {
  to.centre = {kWidth / 2, kHeight / 2};
  to.width = kWidth, to.height = kHeight;
  to.background = {20, 22, 38};
  std::vector<Point> moon(surface_.begin(), surface_.end());
  moon.push_back({kWidth, 0});
  moon.push_back({0, 0});
  to.polygon(std::move(moon), {205, 203, 196});
  for (const Point& flag : {surface_[4], surface_[6]}) {
    const double foot = flag.y, top = foot + 1.6;
    to.stroke({flag.x, foot}, {flag.x, top}, 0.06, {240, 240, 240});
    to.polygon({{flag.x, top}, {flag.x + 0.8, top - 0.2}, {flag.x, top - 0.4}}, {230, 190, 40});
  }

  const Point at = world_.position(kLander);
  const double angle = world_.angle(kLander);
  const double sine = elementary::sin(angle), cosine = elementary::cos(angle);
  const auto of_lander = [&](double x, double y) {
    return Point{at.x + x * cosine - y * sine, at.y + x * sine + y * cosine};
  };
  const auto flame = [&](Point from, Point tip, double width) {
    to.stroke(of_lander(from.x, from.y), of_lander(tip.x, tip.y), width, {255, 150, 40});
  };
  if (engines_.main > 0) flame({0, -0.35}, {0, -0.35 - 0.8 * engines_.main}, 0.3);
  if (engines_.side > 0) {
    const double side = -engines_.direction;
    flame({side * 0.55, 0.4}, {side * (0.55 + 0.4 * engines_.side), 0.4}, 0.12);
  }
  for (const size_t leg : {kLeg0, kLeg1})
    to.polygon(world_.corners(leg),
               world_.is_on_ground(leg) ? Colour{110, 190, 120} : Colour{150, 150, 175});
  to.polygon(world_.corners(kLander), {135, 110, 225});
}

}  // namespace eggroll
