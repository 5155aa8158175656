// What of NVIDIA this process sees, and the CUDA device; without CUDA types, for those who choose one.
// A build without CUDA has these functions, too (kernels/cuda/absent.cpp): they see no device and say
// why.
#pragma once

#include <memory>
#include <string>

#include "kernels/device.hpp"

namespace eggroll::cuda {

struct Devices {
  int count = 0;
  std::string why_none;  // a clause, with the driver's words in it; empty where there are some
  bool is_in_build = true;
};
// Devices this process may use (CUDA_VISIBLE_DEVICES counts). Never throws.
Devices visible_devices();

// The place of a visible device on its host, the same for every process there: "0000:1b:00.0".
// Throws Error where the driver does not tell.
std::string device_address(int index);

// Throws Error where the device cannot be used.
std::unique_ptr<Device> make_cuda_device(const DeviceSettings& settings);

}  // namespace eggroll::cuda
