#include "kernels/backend.hpp"

#include "common/check.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cuda/devices.hpp"

namespace eggroll {

std::unique_ptr<Backend> make_backend(const std::string& device, const BackendSettings& settings) {
  if (device == "cpu") return std::make_unique<cpu::CpuBackend>(settings);
  if (device == "cuda") return cuda::make_cuda_backend(settings);
  throw ConfigError("device = " + device + ": allowed are cpu, cuda");
}

}  // namespace eggroll
