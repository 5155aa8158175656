#include "kernels/backend.hpp"

#include "common/check.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cuda/devices.hpp"

namespace eggroll {

void Backend::reconstruct_and_step(uint32_t noise_epoch, std::span<const int8_t> d,
                                   const StepRule& rule) {
  reconstruct(noise_epoch, d, /*wide=*/false, {.bucket_ready = [](size_t) {}, .poll = [] {}});
  for (size_t bucket = 0; bucket < buckets().size(); ++bucket) step(bucket, rule, /*wide=*/false);
}

std::unique_ptr<Backend> make_backend(const std::string& device, const BackendSettings& settings) {
  if (device == "cpu") return std::make_unique<cpu::CpuBackend>(settings);
  if (device == "cuda") return cuda::make_cuda_backend(settings);
  throw ConfigError("device = " + device + ": allowed are cpu, cuda");
}

}  // namespace eggroll
