// Stands in for the CUDA twin in a build without CUDA, so that nobody else needs to know.
#include "common/check.hpp"
#include "kernels/cuda/devices.hpp"

namespace eggroll::cuda {
namespace {

const char* const kWhyNone =
    "this program is built without CUDA; with it: cmake --preset cuda && cmake --build --preset "
    "cuda, which needs NVIDIA's nvcc";

}  // namespace

Devices visible_devices() { return {.count = 0, .why_none = kWhyNone, .is_in_build = false}; }

std::string device_address(int) { throw Error(kWhyNone); }

std::unique_ptr<Device> make_cuda_device(const DeviceSettings&) {
  throw ConfigError(std::string("device = cuda: ") + kWhyNone);
}

}  // namespace eggroll::cuda
