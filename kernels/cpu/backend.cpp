#include "kernels/cpu/backend.hpp"

#include <algorithm>

#include "common/check.hpp"
#include "kernels/fixed_point.hpp"
#include "kernels/int_rnn.hpp"

namespace eggroll::cpu {

CpuBackend::CpuBackend(const BackendSettings& settings)
    : settings_(settings),
      layout_(int_rnn_layout(settings.shape)),
      isa_(choose_isa()),
      team_(settings.threads),
      parameters_(layout_.size()),
      accumulators_(settings.update == UpdateRule::sigma_delta ? layout_.size() : 0),
      z_(layout_.size()) {
  require(settings.shape.width % kPanel == 0 && settings.shape.layers > 0,
          "widths come in panels of 64");
  size_t matrix_elements = 0, outputs = 0, noise = 0, noise_sums = 0;
  for (const TensorSpec& tensor : layout_.tensors()) {
    noise_offset_.push_back(noise);
    noise_sum_offset_.push_back(noise_sums);
    noise += isa_.block_pairs * noise_elements(tensor, settings.noise_rank);
    if (tensor.kind != TensorKind::matrix) continue;
    noise_sums += isa_.block_pairs * settings.noise_rank;
    matrix_elements += tensor.size();
    outputs += tensor.rows;
  }
  panels_ = Buffer<int8_t>(matrix_elements);
  compensations_ = Buffer<int32_t>(outputs);
  for (int t = 0; t < settings.threads; ++t)
    block_workspaces_.emplace_back(settings_, block_rows_, noise, noise_sums);
  order_of_use_ = order_of_use(settings.shape);
  plan_update();
}

BlockWorkspace::BlockWorkspace(const BackendSettings& settings, size_t rows, size_t noise_elements,
                               size_t noise_sum_count) {
  const size_t width = settings.shape.width;
  x = Buffer<int8_t>(rows * width);
  state = Buffer<int8_t>(settings.shape.layers * rows * width);  // [layers, rows, width]
  state_u8 = Buffer<uint8_t>(settings.shape.layers * rows * width);
  forget = Buffer<int8_t>(rows * width);
  product_a = Buffer<int8_t>(rows * width);
  product_b = Buffer<int8_t>(rows * width);
  logits = Buffer<int8_t>(rows * kVocabulary);
  normed = Buffer<uint8_t>(rows * width);
  gated = Buffer<uint8_t>(rows * width);
  hidden = Buffer<uint8_t>(rows * 4 * width);
  projection = Buffer<int32_t>(rows * std::max(settings.noise_rank, 2));
  noise = Buffer<int8_t>(noise_elements);
  noise_sums = Buffer<int32_t>(noise_sum_count);
}

std::string CpuBackend::description() const {
  return std::string("cpu ") + isa_.name + ", " + std::to_string(team_.size()) +
         (team_.size() == 1 ? " thread" : " threads");
}

void CpuBackend::write_parameters(std::span<const int8_t> values) {
  require(values.size() == parameters_.size(), "parameters of this layout");
  std::ranges::copy(values, parameters_.data());
  packed_is_current_ = false;
}

void CpuBackend::read_parameters(std::span<int8_t> values) {
  require(values.size() == parameters_.size(), "parameters of this layout");
  std::ranges::copy(parameters_.span(), values.data());
}

void CpuBackend::write_accumulators(std::span<const int32_t> values) {
  require(values.size() == accumulators_.size(), "accumulators of this layout and rule");
  std::ranges::copy(values, accumulators_.data());
}

void CpuBackend::read_accumulators(std::span<int32_t> values) {
  require(values.size() == accumulators_.size(), "accumulators of this layout and rule");
  std::ranges::copy(accumulators_.span(), values.data());
}

void CpuBackend::assign_pairs(PairRange pairs) {
  pairs_ = pairs;
  states_ = Buffer<int8_t>(state_slots() * slot_bytes());
}

uint64_t CpuBackend::state_slots() const {
  return pairs_.count * state_slots_per_pair(settings_.carry);
}

void CpuBackend::write_states(uint64_t first_slot, std::span<const int8_t> values) {
  require(first_slot * slot_bytes() + values.size() <= states_.size(),
          "states of the assigned pairs");
  std::ranges::copy(values, states_.data() + first_slot * slot_bytes());
}

void CpuBackend::read_states(uint64_t first_slot, std::span<int8_t> values) {
  require(first_slot * slot_bytes() + values.size() <= states_.size(),
          "states of the assigned pairs");
  std::ranges::copy_n(states_.data() + first_slot * slot_bytes(), values.size(), values.data());
}

Perturbation CpuBackend::matrix_perturbation() const {
  return {kFractionBits + settings_.sigma_shift +
              log2_sqrt(static_cast<uint32_t>(settings_.noise_rank)),
          settings_.rounding};
}

Perturbation CpuBackend::vector_perturbation() const {
  return {kFractionBits + settings_.sigma_shift, settings_.rounding};
}

}  // namespace eggroll::cpu
