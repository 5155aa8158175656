#include "common/check.hpp"
#include "kernels/cpu/device.hpp"
#include "kernels/cuda/devices.hpp"
#include "kernels/device.hpp"

namespace eggroll {

std::unique_ptr<Device> make_device(const std::string& name, const DeviceSettings& settings) {
  if (name == "cpu") return std::make_unique<cpu::CpuDevice>(settings);
  if (name == "cuda") return cuda::make_cuda_device(settings);
  throw ConfigError("device = " + name + ": allowed are cpu, cuda");
}

}  // namespace eggroll
