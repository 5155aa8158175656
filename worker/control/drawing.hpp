// What an environment shows of itself: flat figures in its own units, one over the other.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

namespace eggroll {

struct Point {
  double x = 0, y = 0;  // to the right, up
};
struct Colour {
  uint8_t red = 0, green = 0, blue = 0;
};

struct Drawing {
  struct Polygon {
    std::vector<Point> corners;
    Colour colour;
  };
  struct Stroke {  // with round ends; of no length: a disc
    Point from, to;
    double width;
    Colour colour;
  };

  // What is seen: the centre, and at least so much around it.
  Point centre = {};
  double width = 1, height = 1;
  Colour background = {255, 255, 255};
  std::vector<std::variant<Polygon, Stroke>> figures = {};

  void polygon(std::vector<Point> corners, Colour colour) {
    figures.push_back(Polygon{std::move(corners), colour});
  }
  void stroke(Point from, Point to, double width_of_it, Colour colour) {
    figures.push_back(Stroke{from, to, width_of_it, colour});
  }
  void disc(Point middle, double radius, Colour colour) {
    stroke(middle, middle, 2 * radius, colour);
  }
};

}  // namespace eggroll
