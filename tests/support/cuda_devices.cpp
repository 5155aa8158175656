// The CUDA twin, on a device or emulated on the CPU (tests/cuda_emulation).
#include "kernels/cuda/devices.hpp"
#include "tests/support/devices.hpp"

namespace eggroll::test {

const std::vector<std::string>& devices() {
  static const std::vector<std::string> names = {"cuda"};
  return names;
}

std::unique_ptr<Device> device_on(const std::string&, const DeviceSettings& settings) {
  return cuda::make_cuda_device(settings);
}

}  // namespace eggroll::test
