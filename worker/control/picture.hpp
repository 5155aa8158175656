// A Drawing as pixels. Edges are smooth: a pixel is as much of a figure's colour as the figure covers of
// it. A function of the drawing alone, made of operations that are the same everywhere. Figures whose
// numbers are not finite are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/control/drawing.hpp"

namespace eggroll {

struct Picture {
  uint32_t width = 0, height = 0;
  std::vector<Colour> pixels = {};  // [height, width], the top row first

  const Colour& at(uint32_t x, uint32_t y) const { return pixels[size_t{y} * width + x]; }
};

// What the drawing wants seen fills the picture in one direction at least; lengths keep their ratio.
Picture picture_of(const Drawing& drawing, uint32_t width, uint32_t height);

}  // namespace eggroll
