#include "worker/control/picture.hpp"

#include <algorithm>
#include <cmath>

#include "common/check.hpp"

namespace eggroll {
namespace {

bool is_finite(const Point& point) { return std::isfinite(point.x) && std::isfinite(point.y); }

class Canvas {
 public:
  Canvas(const Drawing& drawing, Picture& picture)
      : picture_(picture),
        width_(picture.width),
        height_(picture.height),
        scale_(std::min(width_ / drawing.width, height_ / drawing.height)),
        centre_(drawing.centre) {}

  void paint(const Drawing::Stroke& stroke);
  void paint(const Drawing::Polygon& polygon);

 private:
  // In pixels, down from the upper left corner. What is far outside is not told from infinity.
  Point on_canvas(const Point& point) const {
    const auto near = [](double number) { return std::clamp(number, -1e6, 1e6); };
    return {near(width_ / 2 + scale_ * (point.x - centre_.x)),
            near(height_ / 2 - scale_ * (point.y - centre_.y))};
  }
  void blend(int64_t x, int64_t y, double share, Colour colour) {
    Colour& pixel =
        picture_.pixels[static_cast<size_t>(y) * picture_.width + static_cast<size_t>(x)];
    const auto mix = [share](uint8_t& old, uint8_t added) {
      old = static_cast<uint8_t>(old + (added - old) * share + 0.5);
    };
    mix(pixel.red, colour.red);
    mix(pixel.green, colour.green);
    mix(pixel.blue, colour.blue);
  }

  Picture& picture_;
  const double width_, height_, scale_;
  const Point centre_;
};

// A pixel is covered by how far its centre is within the edge, and by no more than the width.
void Canvas::paint(const Drawing::Stroke& stroke) {
  if (!is_finite(stroke.from) || !is_finite(stroke.to) || !std::isfinite(stroke.width)) return;
  const Point a = on_canvas(stroke.from), b = on_canvas(stroke.to);
  const double radius = std::clamp(stroke.width * scale_ / 2, 0.0, 1e6), reach = radius + 0.5;
  const double dx = b.x - a.x, dy = b.y - a.y, square = dx * dx + dy * dy;
  const auto first = [](double from) { return static_cast<int64_t>(std::max(0.0, from)); };
  const auto end = [](double to, double size) {
    return static_cast<int64_t>(std::clamp(std::ceil(to), 0.0, size));
  };
  const int64_t end_x = end(std::max(a.x, b.x) + reach, width_);
  const int64_t end_y = end(std::max(a.y, b.y) + reach, height_);
  for (int64_t y = first(std::min(a.y, b.y) - reach); y < end_y; ++y)
    for (int64_t x = first(std::min(a.x, b.x) - reach); x < end_x; ++x) {
      const double px = static_cast<double>(x) + 0.5 - a.x, py = static_cast<double>(y) + 0.5 - a.y;
      const double along = square > 0 ? std::clamp((px * dx + py * dy) / square, 0.0, 1.0) : 0;
      const double ox = px - along * dx, oy = py - along * dy;
      const double within = reach - std::sqrt(ox * ox + oy * oy);
      if (within > 0) blend(x, y, std::min({within, 1.0, 2 * radius}), stroke.colour);
    }
}

// Lines within a row of pixels, each covered from one crossing of an edge to the next.
void Canvas::paint(const Drawing::Polygon& polygon) {
  constexpr int kLines = 8;
  if (!std::ranges::all_of(polygon.corners, is_finite) || polygon.corners.size() < 3) return;
  std::vector<Point> corners;
  for (const Point& corner : polygon.corners) corners.push_back(on_canvas(corner));
  const auto [top, bottom] = std::ranges::minmax(corners, {}, &Point::y);
  std::vector<double> covered(picture_.width + 1), crossings;  // one more: nothing is there
  const auto cover = [&](double from, double to) {
    const auto first = static_cast<size_t>(from), last = static_cast<size_t>(to);
    for (size_t x = first; x < last; ++x) covered[x] += 1.0 / kLines;
    covered[first] -= (from - static_cast<double>(first)) / kLines;
    covered[last] += (to - static_cast<double>(last)) / kLines;
  };
  const auto end = static_cast<int64_t>(std::clamp(std::ceil(bottom.y), 0.0, height_));
  for (auto y = static_cast<int64_t>(std::max(0.0, top.y)); y < end; ++y) {
    std::ranges::fill(covered, 0);
    for (int line = 0; line < kLines; ++line) {
      const double at = static_cast<double>(y) + (line + 0.5) / kLines;
      crossings.clear();
      for (size_t i = 0; i < corners.size(); ++i) {
        const Point &a = corners[i], &b = corners[(i + 1) % corners.size()];
        if ((a.y <= at) != (b.y <= at))
          crossings.push_back(
              std::clamp(a.x + (b.x - a.x) * ((at - a.y) / (b.y - a.y)), 0.0, width_));
      }
      std::ranges::sort(crossings);
      for (size_t i = 0; i + 1 < crossings.size(); i += 2) cover(crossings[i], crossings[i + 1]);
    }
    for (size_t x = 0; x < picture_.width; ++x)
      if (covered[x] > 0)
        blend(static_cast<int64_t>(x), y, std::min(covered[x], 1.0), polygon.colour);
  }
}

}  // namespace

Picture picture_of(const Drawing& drawing, uint32_t width, uint32_t height) {
  require(width > 0 && height > 0 && drawing.width > 0 && drawing.height > 0,
          "a picture has pixels, and what is seen a size");
  Picture picture = {width, height,
                     std::vector<Colour>(size_t{width} * height, drawing.background)};
  Canvas canvas(drawing, picture);
  for (const auto& figure : drawing.figures)
    std::visit([&](const auto& it) { canvas.paint(it); }, figure);
  return picture;
}

}  // namespace eggroll
