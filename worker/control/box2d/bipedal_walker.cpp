#include "worker/control/box2d/bipedal_walker.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "worker/control/elementary.hpp"

namespace eggroll {
namespace {

// Metres, from the pixels that the task was made in.
constexpr double kPixels = 30;
constexpr double kWidth = 600 / kPixels, kHeight = 400 / kPixels;  // of what is seen
constexpr double kSteps = 50;                                      // a second

constexpr double kPiece = 14 / kPixels;  // of the terrain
constexpr int kPieces = 200, kStartPieces = 20, kEndPieces = 10;
constexpr double kLevel = kHeight / 4;
constexpr int kClouds = 10,
              kNumbersOfCloud = 11;  // that Gymnasium draws for what it shows of the sky

constexpr Point kHull[] = {{-30, 9}, {6, 9}, {34, 1}, {34, -8}, {-30, -8}};
constexpr double kHipBelow = 8 / kPixels;
constexpr double kLegWidth = 8 / kPixels, kLegLength = 34 / kPixels;
constexpr double kPush = 5;  // N at most, in the first step
constexpr double kTorque = 80, kHipSpeed = 4, kKneeSpeed = 6;

constexpr int kRays = 10;
constexpr double kRayLength = 160 / kPixels;

// As they are added.
enum Bodies : size_t { kBody, kThigh0, kShin0, kThigh1, kShin1 };
enum Hinges : size_t { kHip0, kKnee0, kHip1, kKnee1 };

const std::array<Point, kRays> kRayEnds = [] {  // from the hull
  std::array<Point, kRays> ends;
  for (int i = 0; i < kRays; ++i) {
    const double angle = 1.5 * i / kRays;  // from straight down
    ends[i] = {elementary::sin(angle) * kRayLength, -elementary::cos(angle) * kRayLength};
  }
  return ends;
}();

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
double effort(double action) { return std::min(std::fabs(action), 1.0); }

}  // namespace

EnvironmentSpec BipedalWalker::spec() {
  return {.name = "BipedalWalker-v3",
          .observations = 24,
          .low = std::vector<float>(4, -1),
          .high = std::vector<float>(4, 1),
          .step_limit = 1600};
}

void BipedalWalker::reset(uint64_t seed, std::span<float> observation) {
  world_ = PlanarWorld();
  EpisodeRandom random(seed);
  make_terrain(random);
  for (int i = 0; i < kClouds * kNumbersOfCloud; ++i) random.uniform();
  make_walker(random.uniform(-kPush, kPush));
  step(std::array<float, 4>{}, observation);
}

// A random walk of the slope, pulled towards a level, flat at first. From the end of the start on, every 5
// to 9 corners one has the height of the one before.
void BipedalWalker::make_terrain(EpisodeRandom& random) {
  terrain_.clear();
  double height = kLevel, slope = 0;
  int left = kStartPieces;  // until the next that is level
  bool is_level = false;
  for (int i = 0; i < kPieces; ++i) {
    if (!is_level) {
      slope = 0.8 * slope + 0.01 * sign(kLevel - height);
      if (i > kStartPieces) slope += random.uniform(-1, 1) / kPixels;
      height += slope;
    }
    terrain_.push_back({i * kPiece, height});
    is_level = --left == 0;
    if (is_level) left = 5 + static_cast<int>(5 * random.uniform());
  }
  world_.add_ground(terrain_, 2.5);
}

void BipedalWalker::make_walker(double push) {
  const Point start = {kPiece * kStartPieces / 2, kLevel + 2 * kLegLength};
  std::vector<Point> hull;
  for (const Point& corner : kHull) hull.push_back({corner.x / kPixels, corner.y / kPixels});
  world_.add(PlanarWorld::Body{
      .corners = std::move(hull), .position = start, .density = 5, .friction = 0.1});
  world_.push(kBody, {push, 0});
  // The legs begin somewhat above where the hips hold them; the first step draws them there.
  for (const double side : {-1.0, 1.0}) {
    const size_t thigh =
        world_.add(PlanarWorld::Body{.half_size = {kLegWidth / 2, kLegLength / 2},
                                     .position = {start.x, start.y - kLegLength / 2 + kHipBelow},
                                     .angle = side * 0.05});
    world_.add(PlanarWorld::Hinge{.first = kBody,
                                  .second = thigh,
                                  .at_first = {0, -kHipBelow},
                                  .at_second = {0, kLegLength / 2},
                                  .low = -0.8,
                                  .high = 1.1,
                                  .speed = side,
                                  .torque = kTorque});
    const size_t shin = world_.add(
        PlanarWorld::Body{.half_size = {0.8 * kLegWidth / 2, kLegLength / 2},
                          .position = {start.x, start.y - kLegLength * 3 / 2 + kHipBelow},
                          .angle = side * 0.05});
    world_.add(PlanarWorld::Hinge{.first = thigh,
                                  .second = shin,
                                  .at_first = {0, -kLegLength / 2},
                                  .at_second = {0, kLegLength / 2},
                                  .low = -1.6,
                                  .high = -0.1,
                                  .speed = 1,
                                  .torque = kTorque});
  }
}

Step BipedalWalker::step(std::span<const float> action, std::span<float> observation) {
  for (const size_t hinge : {kHip0, kKnee0, kHip1, kKnee1}) {
    const double speed = hinge == kHip0 || hinge == kHip1 ? kHipSpeed : kKneeSpeed;
    world_.drive(hinge, speed * sign(action[hinge]), kTorque * effort(action[hinge]));
  }
  if (!world_.step()) {
    std::ranges::fill(observation, 0.0f);
    return {.terminated = true, .failed = true};
  }

  const Point at = world_.position(kBody), velocity = world_.velocity(kBody);
  const double angle = world_.angle(kBody);
  size_t next = 0;
  const auto observe = [&](double value) { observation[next++] = static_cast<float>(value); };
  observe(angle);
  observe(2.0 * world_.spin(kBody) / kSteps);
  observe(0.3 * velocity.x * kWidth / kSteps);
  observe(0.3 * velocity.y * kHeight / kSteps);
  for (const size_t leg : {0, 1}) {
    const size_t hip = leg == 0 ? kHip0 : kHip1, knee = leg == 0 ? kKnee0 : kKnee1;
    observe(world_.hinge_angle(hip));
    observe(world_.hinge_speed(hip) / kHipSpeed);
    observe(world_.hinge_angle(knee) + 1);
    observe(world_.hinge_speed(knee) / kKneeSpeed);
    observe(world_.is_on_ground(leg == 0 ? kShin0 : kShin1) ? 1 : 0);
  }
  for (const Point& end : kRayEnds) observe(world_.free_way(at, {at.x + end.x, at.y + end.y}));

  // Going to the right with an upright hull is better; torque costs.
  const double potential = 130 * at.x / kPixels - 5 * std::fabs(angle);
  Step step = {.reward = potential - potential_};
  potential_ = potential;
  for (const float each : action) step.reward -= 0.00035 * kTorque * effort(each);
  if (world_.has_touched(kBody) || at.x < 0) step = {.reward = -100, .terminated = true};
  if (at.x > (kPieces - kEndPieces) * kPiece) step.terminated = true;
  return step;
}

void BipedalWalker::draw(Drawing& to) const {
  const double left = world_.position(kBody).x - kWidth / 5, right = left + kWidth;
  to.centre = {left + kWidth / 2, kHeight / 2};
  to.width = kWidth, to.height = kHeight;
  to.background = {214, 224, 250};
  std::vector<Point> ground = {{terrain_.back().x, 0}, {0, 0}};
  ground.insert(ground.end(), terrain_.begin(), terrain_.end());
  to.polygon(std::move(ground), {110, 155, 85});
  for (size_t i = 1; i < terrain_.size(); ++i)
    if (terrain_[i].x > left && terrain_[i - 1].x < right)
      to.stroke(terrain_[i - 1], terrain_[i], 0.08, {70, 115, 60});
  // Start and end.
  for (const double x : {3 * kPiece, (kPieces - kEndPieces) * kPiece}) {
    const double foot = terrain_[static_cast<size_t>(x / kPiece + 0.5)].y, top = foot + 1.6;
    to.stroke({x, foot}, {x, top}, 0.06, {50, 50, 50});
    to.polygon({{x, top}, {x + 0.8, top - 0.2}, {x, top - 0.4}}, {225, 60, 30});
  }
  to.polygon(world_.corners(kThigh1), {120, 80, 105});
  to.polygon(world_.corners(kShin1), {120, 80, 105});
  to.polygon(world_.corners(kBody), {125, 70, 215});
  to.polygon(world_.corners(kThigh0), {175, 110, 150});
  to.polygon(world_.corners(kShin0), {175, 110, 150});
}

}  // namespace eggroll
