// What a GPU makes: the engines that compute on it.
#include "common/check.hpp"
#include "kernels/cuda/device.hpp"
#include "kernels/cuda/devices.hpp"
#include "kernels/cuda/int_rnn.hpp"
#include "kernels/cuda/learner.hpp"
#include "kernels/float_layers.hpp"

namespace eggroll::cuda {

std::unique_ptr<Learner> CudaDevice::make_learner(const LearnerSettings& settings) {
  return std::make_unique<CudaLearner>(*this, settings);
}

std::unique_ptr<IntRnn> CudaDevice::make_int_rnn(const IntRnnSettings& settings,
                                                 const Learner& learner) {
  return std::make_unique<CudaIntRnn>(*this, settings, learner);
}

std::unique_ptr<FloatLayers> CudaDevice::make_float_layers(const FloatLayersSettings&,
                                                           const Learner&) {
  throw ConfigError(
      "device = cuda: float layers are computed on the CPU only; allowed are auto, cpu");
}

std::unique_ptr<Device> make_cuda_device(const DeviceSettings& settings) {
  return std::make_unique<CudaDevice>(settings);
}

}  // namespace eggroll::cuda
