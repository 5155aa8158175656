// How a MuJoCo environment looks: its geoms as flat figures, the farther first.
#include <mujoco/mujoco.h>

#include <algorithm>
#include <cmath>

#include "worker/control/mujoco/mujoco_environment.hpp"
#include "worker/control/mujoco/mujoco_rules.hpp"

namespace eggroll {
namespace {

struct Place {
  double x, y, z;
};

double dot(const Place& a, const Place& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

// Directions of the picture in space, each of length 1.
struct Eye {
  Place right, up, towards;

  Point seen(const Place& at) const { return {dot(right, at), dot(up, at)}; }
};

Eye eye_of(MujocoRules::View view) {
  if (view == MujocoRules::View::side) return {{1, 0, 0}, {0, 0, 1}, {0, -1, 0}};
  if (view == MujocoRules::View::above) return {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
  const double turn = 0.5, height = 0.3;  // radians, from the side
  return {
      {std::cos(turn), std::sin(turn), 0},
      {-std::sin(height) * std::sin(turn), std::sin(height) * std::cos(turn), std::cos(height)},
      {std::cos(height) * std::sin(turn), -std::cos(height) * std::cos(turn), std::sin(height)}};
}

constexpr Colour kGround = {226, 226, 218}, kLine = {200, 200, 190};

Colour colour_of(const float* rgba) {
  const auto level = [](float share) {
    return static_cast<uint8_t>(std::lround(255 * std::clamp(share, 0.0f, 1.0f)));
  };
  return {level(rgba[0]), level(rgba[1]), level(rgba[2])};
}

class Painter {
 public:
  Painter(const mjModel& model, const mjData& data, const Eye& eye, Drawing& to)
      : model_(model), data_(data), eye_(eye), to_(to) {}

  // From the side an edge with marks, otherwise all that is seen, with a net of lines: a metre, or a tenth
  // in pictures of less.
  void ground(double z, bool is_edge, const Place& at) {
    const double reach = to_.width + to_.height;
    const double step = to_.width < 1 ? 0.1 : 1, thin = to_.width / 300;
    const double from_x = std::floor((at.x - reach) / step) * step;
    const double from_y = std::floor((at.y - reach) / step) * step;
    const int lines = static_cast<int>(2 * reach / step) + 2;
    if (is_edge) {
      const double left = at.x - reach, right = at.x + reach;
      to_.polygon({{left, z}, {right, z}, {right, z - reach}, {left, z - reach}}, kGround);
      for (int i = 0; i < lines; ++i) {
        const double x = from_x + i * step;
        to_.stroke({x, z}, {x, z - reach}, thin, kLine);
      }
      return;
    }
    to_.background = kGround;
    for (int i = 0; i < lines; ++i) {
      const double x = from_x + i * step, y = from_y + i * step;
      to_.stroke(eye_.seen({x, at.y - reach, z}), eye_.seen({x, at.y + reach, z}), thin, kLine);
      to_.stroke(eye_.seen({at.x - reach, y, z}), eye_.seen({at.x + reach, y, z}), thin, kLine);
    }
  }

  double nearness(int geom) const { return dot(eye_.towards, middle(geom)); }

  void geom(int geom) {
    const double* size = model_.geom_size + 3 * geom;
    const Colour colour = colour_of(model_.geom_rgba + 4 * geom);
    const Place at = middle(geom), x = axis(geom, 0), y = axis(geom, 1), z = axis(geom, 2);
    switch (model_.geom_type[geom]) {
      case mjGEOM_SPHERE:
      case mjGEOM_ELLIPSOID:
        to_.disc(eye_.seen(at), size[0], colour);
        break;
      case mjGEOM_CAPSULE:
      case mjGEOM_CYLINDER:
        to_.stroke(eye_.seen(moved(at, z, -size[1])), eye_.seen(moved(at, z, size[1])), 2 * size[0],
                   colour);
        break;
      case mjGEOM_BOX:  // three pairs of faces, of which the nearer is seen
        face(at, x, y, z, size[0], size[1], size[2], colour);
        face(at, y, z, x, size[1], size[2], size[0], colour);
        face(at, z, x, y, size[2], size[0], size[1], colour);
        break;
      default:
        break;
    }
  }

 private:
  Place middle(int geom) const {
    const double* at = data_.geom_xpos + 3 * geom;
    return {at[0], at[1], at[2]};
  }
  Place axis(int geom, int column) const {
    const double* turn = data_.geom_xmat + 9 * geom;
    return {turn[column], turn[3 + column], turn[6 + column]};
  }
  static Place moved(const Place& at, const Place& along, double by) {
    return {at.x + by * along.x, at.y + by * along.y, at.z + by * along.z};
  }
  void face(const Place& at, const Place& a, const Place& b, const Place& out, double half_a,
            double half_b, double half_out, Colour colour) {
    const double side = dot(eye_.towards, out) < 0 ? -half_out : half_out;
    const Place centre = moved(at, out, side);
    std::vector<Point> corners;
    for (const auto& [i, j] : {Point{-1, -1}, Point{1, -1}, Point{1, 1}, Point{-1, 1}})
      corners.push_back(eye_.seen(moved(moved(centre, a, i * half_a), b, j * half_b)));
    to_.polygon(std::move(corners), colour);
  }

  const mjModel& model_;
  const mjData& data_;
  const Eye& eye_;
  Drawing& to_;
};

}  // namespace

void MujocoEnvironment::draw(Drawing& to) const {
  const MujocoRules& rules = world_->rules();
  const mjModel& model = *world_->model().get();
  const mjData& data = *state_.get();
  const Eye eye = eye_of(rules.view);
  Place at = {0, 0, 0};
  if (rules.is_followed) at = {data.xpos[3], data.xpos[4], 0};
  const Point middle = eye.seen(at);
  to.centre = {middle.x + rules.centre.x, middle.y + rules.centre.y};
  to.width = rules.width;
  to.height = rules.height;

  Painter painter(model, data, eye, to);
  std::vector<int> geoms;
  for (int geom = 0; geom < model.ngeom; ++geom)
    if (model.geom_type[geom] == mjGEOM_PLANE)
      painter.ground(data.geom_xpos[3 * geom + 2], rules.view == MujocoRules::View::side, at);
    else
      geoms.push_back(geom);
  std::ranges::stable_sort(geoms,
                           [&](int a, int b) { return painter.nearness(a) < painter.nearness(b); });
  for (const int geom : geoms) painter.geom(geom);
}

}  // namespace eggroll
