// The CUDA backend, on a device or emulated on the CPU (tests/cuda_emulation).
#include "kernels/cuda/devices.hpp"
#include "tests/support/backends.hpp"

namespace eggroll::test {

const std::vector<std::string>& backends() {
  static const std::vector<std::string> names = {"cuda"};
  return names;
}

std::unique_ptr<Backend> backend_on(const std::string&, const BackendSettings& settings) {
  return cuda::make_cuda_backend(settings);
}

}  // namespace eggroll::test
