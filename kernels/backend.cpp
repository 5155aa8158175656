#include "kernels/backend.hpp"

#include "common/check.hpp"
#include "kernels/cpu/backend.hpp"

namespace eggroll {

std::unique_ptr<Backend> make_backend(const std::string& device, const BackendSettings& settings) {
  if (device == "cpu") return std::make_unique<cpu::CpuBackend>(settings);
  throw ConfigError("device = " + device + ": allowed is cpu");
}

}  // namespace eggroll
