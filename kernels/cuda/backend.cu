#include "common/check.hpp"
#include "kernels/cuda/backend.hpp"
#include "kernels/cuda/devices.hpp"
#include "kernels/int_rnn.hpp"

namespace eggroll::cuda {
namespace {

bool layout_is_known(const ParameterLayout& layout, const IntRnnShape& shape) {
  const auto stands = [&](size_t tensor, size_t offset) { return layout[tensor].offset == offset; };
  bool known =
      stands(kEmbedding, 0) && stands(kHead, offset_of_matrix(0, kHeadProduct, shape.width));
  const size_t vectors = offset_of_vectors(shape.layers, shape.width);
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (const LayerMatrix which : {kWf, kUf, kWh, kUh, kW1, kW2})
      known &= stands(matrix_index(layer, which), offset_of_matrix(layer, which, shape.width));
    for (const LayerVector which : {kBf, kBh, kLn1, kLn2})
      known &=
          stands(vector_index(shape, layer, which), vectors + (4 * layer + which) * shape.width);
  }
  return known && stands(out_norm_index(shape), vectors + 4 * size_t{shape.layers} * shape.width);
}

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
  require(layout_is_known(layout_, settings.shape), "the layout that the kernels count on");
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
