#include "common/check.hpp"
#include "kernels/cuda/device.hpp"

namespace eggroll::cuda {
namespace {

// Streams and memory belong to the device that is chosen when they are made.
int chosen(int index) {
  CUDA_CHECK(cudaSetDevice(index));
  return index;
}

}  // namespace

CudaDevice::CudaDevice(const DeviceSettings& settings) : index_(chosen(settings.index)) {
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, index_));
  name_ = properties.name;
  multiprocessors_ = static_cast<unsigned>(properties.multiProcessorCount);
  shared_limit_ = properties.sharedMemPerBlockOptin;
}

std::string CudaDevice::description() const {
  return "cuda " + name_ + ", device " + std::to_string(index_);
}

}  // namespace eggroll::cuda
