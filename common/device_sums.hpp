// What a device holds of a bucket, where it is: handed from the arithmetic to the messages between
// ranks.
#pragma once

#include <cstddef>

#include "common/layout.hpp"

namespace eggroll {

struct DeviceSums {
  void* data = nullptr;  // in the device's memory: int32, or int64 where `wide`
  size_t size = 0;       // elements
  bool wide = false;
};

struct DeviceParameters {
  void* data = nullptr;  // in the device's memory
  size_t size = 0;       // elements
  Element element = Element::int8;
};

}  // namespace eggroll
