#include "common/check.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/devices.hpp"
#include "kernels/int_rnn.hpp"

namespace eggroll::cuda {
namespace {

constexpr const char* kParameters = "parameters of this layout";
constexpr const char* kAccumulators = "accumulators of this layout and rule";

// Streams and memory belong to the device that is chosen when they are made.
const BackendSettings& choose_device(const BackendSettings& settings) {
  CUDA_CHECK(cudaSetDevice(settings.device_index));
  return settings;
}

}  // namespace

CudaBackend::CudaBackend(const BackendSettings& settings)
    : settings_(choose_device(settings)), layout_(int_rnn_layout(settings.shape)) {
  require(settings.shape.width % 64 == 0 && settings.shape.layers > 0, "widths in steps of 64");
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, settings.device_index));
  name_ = properties.name;
  multiprocessors_ = static_cast<unsigned>(properties.multiProcessorCount);
  shared_limit_ = properties.sharedMemPerBlockOptin;
  parameters_ = DeviceBuffer<int8_t>(layout_.size());
  if (settings.update == UpdateRule::sigma_delta)
    accumulators_ = DeviceBuffer<int32_t>(layout_.size());
  z_ = DeviceBuffer<int32_t>(layout_.size());
  give_up_ = PinnedBuffer<int32_t>(1);
  largest_ = DeviceBuffer<unsigned long long>(1);
  changed_ = DeviceBuffer<unsigned long long>(1);
  exp2_ = DeviceBuffer<double>(exact_exp2().size());
  copy_to_device(exp2_.data(), exact_exp2(), stream_);
  stream_.synchronize();
  plan_update();
}

std::string CudaBackend::description() const {
  return "cuda " + name_ + ", device " + std::to_string(settings_.device_index);
}

template <typename T>
void CudaBackend::write_all(DeviceBuffer<T>& to, std::span<const T> values, const char* what) {
  require(values.size() == to.size(), what);
  use_device();
  copy_to_device(to.data(), values, stream_);
  stream_.synchronize();
}

template <typename T>
void CudaBackend::read_all(std::span<T> values, const DeviceBuffer<T>& from, const char* what) {
  require(values.size() == from.size(), what);
  use_device();
  copy_to_host(values, from.data(), stream_);
  stream_.synchronize();
}

void CudaBackend::write_parameters(std::span<const int8_t> values) {
  write_all(parameters_, values, kParameters);
}

void CudaBackend::read_parameters(std::span<int8_t> values) {
  read_all(values, parameters_, kParameters);
}

void CudaBackend::write_accumulators(std::span<const int32_t> values) {
  write_all(accumulators_, values, kAccumulators);
}

void CudaBackend::read_accumulators(std::span<int32_t> values) {
  read_all(values, accumulators_, kAccumulators);
}

void CudaBackend::assign_pairs(PairRange pairs) {
  use_device();
  pairs_ = pairs;
  states_ = DeviceBuffer<int8_t>();  // first: there may not be room for both
  states_ = DeviceBuffer<int8_t>(state_slots() * slot_bytes());
}

uint64_t CudaBackend::state_slots() const {
  return pairs_.count * state_slots_per_pair(settings_.carry);
}

void CudaBackend::write_states(uint64_t first_slot, std::span<const int8_t> values) {
  require(first_slot * slot_bytes() + values.size() <= states_.size(),
          "states of the assigned pairs");
  use_device();
  copy_to_device(states_.data() + first_slot * slot_bytes(), values, stream_);
  stream_.synchronize();
}

void CudaBackend::read_states(uint64_t first_slot, std::span<int8_t> values) {
  require(first_slot * slot_bytes() + values.size() <= states_.size(),
          "states of the assigned pairs");
  use_device();
  copy_to_host(values, states_.data() + first_slot * slot_bytes(), stream_);
  stream_.synchronize();
}

std::unique_ptr<Backend> make_cuda_backend(const BackendSettings& settings) {
  return std::make_unique<CudaBackend>(settings);
}

}  // namespace eggroll::cuda
