// CudaDevice: a GPU, what its engines need to know of it, and the streams that they share: what one
// engine enqueues on `stream` is done before what the next one enqueues there, so a model reads the
// parameters that the steps before it have left.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/cuda/runtime.hpp"
#include "kernels/device.hpp"

namespace eggroll::cuda {

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(const DeviceSettings& settings);

  std::string description() const override;
  bool works_in_bulk() const override { return true; }
  int threads() const override { return 1; }
  void run(const std::function<void(int thread)>& work) override { work(0); }

  std::unique_ptr<Learner> make_learner(const LearnerSettings& settings) override;
  std::unique_ptr<IntRnn> make_int_rnn(const IntRnnSettings& settings,
                                       const Learner& learner) override;
  std::unique_ptr<FloatLayers> make_float_layers(const FloatLayersSettings& settings,
                                                 const Learner& learner) override;

  // Makes it the one that the calling thread's calls are for; engines begin with it.
  void use() const { CUDA_CHECK(cudaSetDevice(index_)); }
  const Stream& stream() const { return stream_; }
  const Stream& copies() const { return copies_; }  // to the host, beside what runs on `stream`
  unsigned multiprocessors() const { return multiprocessors_; }
  size_t shared_limit() const { return shared_limit_; }

 private:
  int index_;
  std::string name_;
  unsigned multiprocessors_ = 0;
  size_t shared_limit_ = 0;  // bytes of shared memory that a block may have
  Stream stream_, copies_;
};

}  // namespace eggroll::cuda
