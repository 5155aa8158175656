// CpuDevice: threads and an instruction set. Threads go over blocks of pairs (evaluation) and over
// parts of tensors (update), never inside the arithmetic of one, so no schedule can change a
// result. What it makes shares its threads: one call at a time, and none outlives it.
//   learner.cpp      parameters, slots and the step
//   reconstruct.cpp  Z
//   int_rnn*.cpp     the integer model
//   float_layers.cpp what float models are made of
#pragma once

#include "kernels/cpu/isa.hpp"
#include "kernels/cpu/thread_team.hpp"
#include "kernels/device.hpp"

namespace eggroll::cpu {

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(const DeviceSettings& settings) : team_(settings.threads) {}

  std::string description() const override;
  bool works_in_bulk() const override { return false; }
  int threads() const override { return team_.size(); }
  void run(const std::function<void(int thread)>& work) override { team_.run(work); }

  std::unique_ptr<Learner> make_learner(const LearnerSettings& settings) override;
  std::unique_ptr<IntRnn> make_int_rnn(const IntRnnSettings& settings,
                                       const Learner& learner) override;
  std::unique_ptr<FloatLayers> make_float_layers(const FloatLayersSettings& settings,
                                                 const Learner& learner) override;

  const Isa& isa() const { return isa_; }
  ThreadTeam& team() { return team_; }

 private:
  const Isa& isa_ = choose_isa();
  ThreadTeam team_;
};

}  // namespace eggroll::cpu
