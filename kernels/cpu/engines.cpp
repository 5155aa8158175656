// What a CPU makes: the engines that compute on it.
#include "kernels/cpu/device.hpp"
#include "kernels/cpu/float_layers.hpp"
#include "kernels/cpu/int_rnn.hpp"
#include "kernels/cpu/learner.hpp"

namespace eggroll::cpu {

std::string CpuDevice::description() const {
  return std::string("cpu ") + isa_.name + ", " + std::to_string(team_.size()) +
         (team_.size() == 1 ? " thread" : " threads");
}

std::unique_ptr<Learner> CpuDevice::make_learner(const LearnerSettings& settings) {
  return std::make_unique<CpuLearner>(*this, settings);
}

std::unique_ptr<IntRnn> CpuDevice::make_int_rnn(const IntRnnSettings& settings,
                                                const Learner& learner) {
  return std::make_unique<CpuIntRnn>(*this, settings, learner);
}

std::unique_ptr<FloatLayers> CpuDevice::make_float_layers(const FloatLayersSettings& settings,
                                                          const Learner& learner) {
  return std::make_unique<CpuFloatLayers>(*this, settings, learner);
}

}  // namespace eggroll::cpu
