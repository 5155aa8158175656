// What of NVIDIA this process sees, and the CUDA backend; without CUDA types, for those who choose
// a device. In a build without CUDA only the coordinator's refusal is left (kernels/backend.cpp).
#pragma once

#include <memory>
#include <string>

#include "kernels/backend.hpp"

namespace eggroll::cuda {

struct Devices {
  int count = 0;
  std::string why_none;  // in the words of the driver; empty where there are some
};
// Devices this process may use (CUDA_VISIBLE_DEVICES counts). Never throws.
Devices visible_devices();

// The place of a visible device on its host, the same for every process there: "0000:1b:00.0".
std::string device_address(int index);

// Throws Error where the device cannot be used or has not the memory.
std::unique_ptr<Backend> make_cuda_backend(const BackendSettings& settings);

}  // namespace eggroll::cuda
