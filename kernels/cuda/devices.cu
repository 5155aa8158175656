#include <cuda_runtime.h>

#include "common/check.hpp"
#include "kernels/cuda/devices.hpp"

namespace eggroll::cuda {
namespace {

std::string version_text(int version) {  // 13000: 13.0
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The driver is older than the runtime, or not there at all: CUDA has one error for both.
std::string drivers_age() {
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) return "there is no NVIDIA driver on this host";
  return "the driver knows CUDA up to " + version_text(driver) + ", this program needs " +
         version_text(runtime);
}

}  // namespace

Devices visible_devices() {
  Devices devices;
  const cudaError_t code = cudaGetDeviceCount(&devices.count);
  if (code == cudaSuccess && devices.count > 0) return devices;
  devices.count = 0;
  devices.why_none = "no GPU can be used: ";
  devices.why_none +=
      code == cudaSuccess ? "none is visible (CUDA_VISIBLE_DEVICES)" : cudaGetErrorString(code);
  if (code == cudaErrorInsufficientDriver) devices.why_none += " (" + drivers_age() + ")";
  cudaGetLastError();  // else the next check of a launch would find it
  return devices;
}

std::string device_address(int index) {
  char address[32] = {};
  const cudaError_t code = cudaDeviceGetPCIBusId(address, sizeof address, index);
  if (code != cudaSuccess)
    throw Error("cudaDeviceGetPCIBusId of device " + std::to_string(index) +
                " failed: " + cudaGetErrorString(code));
  return address;
}

}  // namespace eggroll::cuda
