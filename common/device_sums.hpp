// A bucket's sums where a device made them; what the arithmetic hands to a reduction between ranks.
#pragma once

#include <cstddef>

namespace eggroll {

struct DeviceSums {
  void* data = nullptr;  // in the device's memory: int32, or int64 where `wide`
  size_t size = 0;       // elements
  bool wide = false;
};

}  // namespace eggroll
