#include "kernels/cpu/float_layers.hpp"

#include <algorithm>
#include <utility>

#include "common/check.hpp"

namespace eggroll::cpu {

CpuFloatLayers::CpuFloatLayers(CpuDevice& device, const FloatLayersSettings& settings,
                               const Learner& learner)
    : settings_(settings),
      learner_(learner),
      isa_(device.isa()),
      float_isa_(float_isa_of<float>(isa_)),
      formed_isa_(formed_weights_isa_of(float_isa_)),
      activations_isa_(activations_isa_of(float_isa_)),
      kept_(learner.layout().tensors().size()) {
  require(settings.noise_rank >= 1, "noise ranks begin at 1");
}

void CpuFloatLayers::begin(uint32_t noise_epoch, float sigma, std::span<const RowNoise> rows) {
  view_ = learner_.view();
  low_rank_scale_ =
      sigma == 0 ? 0 : perturbation_scale(sigma, static_cast<size_t>(settings_.noise_rank));
  sigma_ = sigma;
  rows_.assign(rows.begin(), rows.end());
  if (sigma == 0)
    for (RowNoise& row : rows_) row.sign = 0;
  if (noise_epoch != epoch_) {
    epoch_ = noise_epoch;
    slots_.clear();
    slot_of_pair_.clear();
    for (Kept& kept : kept_) kept.made.clear();
  }
  take_slots();
}

void CpuFloatLayers::take_slots() {
  ++begins_;
  for (const RowNoise& row : rows_)
    if (const auto found = slot_of_pair_.find(row.pair); found != slot_of_pair_.end())
      slots_[found->second].last_used = begins_;
  slot_of_row_.assign(rows_.size(), 0);
  size_t next = 0;
  for (size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].sign == 0) continue;
    const uint32_t pair = rows_[i].pair;
    auto found = slot_of_pair_.find(pair);
    if (found == slot_of_pair_.end()) {
      while (next < slots_.size() && slots_[next].last_used == begins_) ++next;
      if (next == slots_.size()) {
        slots_.push_back({});
      } else {
        slot_of_pair_.erase(slots_[next].pair);
        for (Kept& kept : kept_)
          if (next < kept.made.size()) kept.made[next] = false;
      }
      slots_[next] = {pair, begins_};
      found = slot_of_pair_.emplace(pair, next).first;
    }
    slot_of_row_[i] = found->second;
  }
}

const TensorSpec& CpuFloatLayers::float_tensor(size_t tensor) const {
  const TensorSpec& spec = learner_.layout()[tensor];
  require(spec.element == Element::float32 && spec.noise != Noise::product,
          "float layers have float weights and no noise of integer models");
  return spec;
}

const float* CpuFloatLayers::weights(const TensorSpec& tensor) const {
  return reinterpret_cast<const float*>(static_cast<const std::byte*>(view_.parameters) +
                                        tensor.at);
}

const float* CpuFloatLayers::panels(size_t tensor) {
  Kept& kept = kept_[tensor];
  if (kept.packed != view_.version) {
    const TensorSpec& spec = learner_.layout()[tensor];
    if (kept.panels.size() == 0) kept.panels = Buffer<float>(panel_elements(spec.rows, spec.cols));
    pack_panels(weights(spec), spec.rows, spec.cols, kept.panels.data());
    kept.packed = view_.version;
  }
  return kept.panels.data();
}

NoiseRow CpuFloatLayers::all_elements(size_t tensor, uint32_t pair, int8_t* to) const {
  return {.tensor = static_cast<uint32_t>(tensor),
          .pair = pair,
          .first = 0,
          .count = static_cast<uint32_t>(
              noise_elements(learner_.layout()[tensor], settings_.noise_rank)),
          .out = to};
}

void CpuFloatLayers::run(const std::vector<NoiseRow>& rows) const {
  isa_.noise({.seed = settings_.seed,
              .epoch = epoch_,
              .next = rows.data(),
              .end = rows.data() + rows.size()});
}

void CpuFloatLayers::make_noise(size_t tensor) {
  const TensorSpec& spec = learner_.layout()[tensor];
  const bool goes_into_panels = spec.noise == Noise::full && spec.role != Role::vector;
  Kept& kept = kept_[tensor];
  kept.stride = goes_into_panels ? panel_elements(spec.rows, spec.cols)
                                 : noise_elements(spec, settings_.noise_rank);
  if (kept.noise.size() < slots_.size() * kept.stride) {
    kept.noise = Buffer<int8_t>(slots_.size() * kept.stride);
    kept.made.clear();
  }
  kept.made.resize(slots_.size(), false);

  std::vector<NoiseRow> missing;
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot].last_used == begins_ && !kept.made[slot]) {
      missing.push_back(
          all_elements(tensor, slots_[slot].pair, kept.noise.data() + slot * kept.stride));
      kept.made[slot] = true;
    }
  if (!goes_into_panels) return run(missing);
  elements_.resize(noise_elements(spec, settings_.noise_rank));
  for (NoiseRow& row : missing) {
    int8_t* to = std::exchange(row.out, elements_.data());
    run({row});
    pack_noise(elements_.data(), spec.rows, spec.cols, to);
  }
}

float CpuFloatLayers::scale(const TensorSpec& tensor, float sign) const {
  return sign * (tensor.noise == Noise::full ? sigma_ / 16 : low_rank_scale_);
}

const int8_t* CpuFloatLayers::noise_of_row(size_t tensor, size_t row) const {
  return kept_[tensor].noise.data() + slot_of_row_[row] * kept_[tensor].stride;
}

template <typename Body>
void CpuFloatLayers::for_each_stretch(const TensorSpec& tensor, const Body& body) const {
  const auto is_perturbed = [&](size_t row) { return tensor.is_trained() && rows_[row].sign != 0; };
  for (size_t first = 0, end; first < rows_.size(); first = end) {
    end = first + 1;
    while (end < rows_.size() && is_perturbed(end) == is_perturbed(first)) ++end;
    body(Stretch{first, end - first, is_perturbed(first)});
  }
}

void CpuFloatLayers::linear(size_t tensor, std::span<const float> x, std::span<float> y) {
  const TensorSpec& spec = float_tensor(tensor);
  const size_t in = spec.cols, out = spec.rows;
  require(
      spec.role != Role::vector && x.size() == rows_.size() * in && y.size() == rows_.size() * out,
      "a linear layer has a matrix, its inputs and its outputs");
  const float* w = panels(tensor);
  if (spec.is_trained()) make_noise(tensor);
  const auto noise_rank = static_cast<size_t>(settings_.noise_rank);
  for_each_stretch(spec, [&](const Stretch& rows) {
    noisy_rows_.clear();
    for (size_t row = rows.first; rows.is_perturbed && row < rows.first + rows.count; ++row)
      noisy_rows_.push_back({noise_of_row(tensor, row), scale(spec, rows_[row].sign)});
    if (rows.is_perturbed && spec.noise == Noise::full)
      return formed_isa_.linear({.x = x.data() + rows.first * in,
                                 .panels = w,
                                 .rows = rows.count,
                                 .in = in,
                                 .out = out,
                                 .noise = noisy_rows_.data(),
                                 .y = y.data() + rows.first * out});
    numbers_.resize(rows.count * noise_rank);
    perturbed_linear(float_isa_, {.x = x.data() + rows.first * in,
                                  .panels = w,
                                  .rows = rows.count,
                                  .in = in,
                                  .out = out,
                                  .noise = rows.is_perturbed ? noisy_rows_.data() : nullptr,
                                  .noise_rank = noise_rank,
                                  .projection = numbers_.data(),
                                  .y = y.data() + rows.first * out});
  });
}

const int8_t* CpuFloatLayers::some_elements(size_t tensor, uint32_t pair, size_t first,
                                            size_t count) {
  const size_t from = first / 64 * 64, end = noise_run(first + count);
  elements_.resize(end - from);
  run({{.tensor = static_cast<uint32_t>(tensor),
        .pair = pair,
        .first = static_cast<uint32_t>(from),
        .count = static_cast<uint32_t>(end - from),
        .out = elements_.data()}});
  return elements_.data() + (first - from);
}

void CpuFloatLayers::embed(size_t tensor, std::span<const uint32_t> index, std::span<float> y) {
  const TensorSpec& spec = float_tensor(tensor);
  require(spec.role == Role::embedding && index.size() == rows_.size() &&
              y.size() == rows_.size() * spec.cols,
          "rows are looked up in an embedding, one for each row");
  if (spec.noise == Noise::low_rank) make_noise(tensor);
  const auto noise_rank = static_cast<size_t>(settings_.noise_rank);
  numbers_.resize(noise_rank);
  for (size_t i = 0; i < rows_.size(); ++i) {
    require(index[i] < spec.rows, "an embedding has the row that is looked up");
    const float* w = weights(spec) + index[i] * size_t{spec.cols};
    float* to = y.data() + i * spec.cols;
    const float s = scale(spec, rows_[i].sign);
    if (!spec.is_trained() || rows_[i].sign == 0) {
      std::copy_n(w, spec.cols, to);
    } else if (spec.noise == Noise::full) {
      const int8_t* e =
          some_elements(tensor, rows_[i].pair, index[i] * size_t{spec.cols}, spec.cols);
      formed_isa_.form(w, &s, e, 0, 1, spec.cols, to);
    } else {
      const int8_t* b = noise_of_row(tensor, i);
      const int8_t* a = b + noise_rank * noise_run(spec.cols) + index[i];
      for (size_t q = 0; q < noise_rank; ++q) numbers_[q] = s * a[q * noise_run(spec.rows)];
      formed_isa_.form(w, numbers_.data(), b, noise_run(spec.cols), noise_rank, spec.cols, to);
    }
  }
}

template <typename Add>
void CpuFloatLayers::add_to_rows(size_t tensor, std::span<float> y, const Add& add) {
  const TensorSpec& spec = float_tensor(tensor);
  const size_t length = spec.size();
  require(spec.role == Role::vector && spec.noise != Noise::low_rank &&
              y.size() == rows_.size() * length,
          "a vector with full noise or none is added to its rows");
  if (spec.is_trained()) make_noise(tensor);
  for (size_t row = 0; row < rows_.size(); ++row) {
    const bool is_perturbed = spec.is_trained() && rows_[row].sign != 0;
    add(weights(spec), scale(spec, rows_[row].sign),
        is_perturbed ? noise_of_row(tensor, row) : nullptr, length, y.data() + row * length);
  }
}

void CpuFloatLayers::add_vector(size_t tensor, std::span<float> y) {
  add_to_rows(tensor, y, formed_isa_.add);
}

void CpuFloatLayers::add_vector_and_tanh(size_t tensor, std::span<float> y) {
  add_to_rows(tensor, y, activations_isa_.add_and_tanh);
}

void CpuFloatLayers::tanh(std::span<float> y) { activations_isa_.tanh(y.data(), y.size()); }

void CpuFloatLayers::normalise(size_t cols, std::span<float> y) {
  require(cols > 0 && y.size() % cols == 0, "whole rows to normalise");
  for (size_t at = 0; at < y.size(); at += cols) activations_isa_.normalise(y.data() + at, cols);
}

void CpuFloatLayers::materialise(size_t tensor, const RowNoise& row, std::span<float> to) {
  const TensorSpec& spec = float_tensor(tensor);
  require(to.size() == spec.size(), "formed weights are as many as the tensor's");
  require(view_.parameters != nullptr, "begin() before weights are formed");
  const float* w = weights(spec);
  if (!spec.is_trained() || row.sign == 0 || sigma_ == 0) {
    std::copy_n(w, spec.size(), to.data());
    return;
  }
  elements_.resize(noise_elements(spec, settings_.noise_rank));
  run({all_elements(tensor, row.pair, elements_.data())});
  const float s = scale(spec, row.sign);
  if (spec.noise == Noise::full)
    return formed_isa_.form(w, &s, elements_.data(), 0, 1, spec.size(), to.data());
  const auto noise_rank = static_cast<size_t>(settings_.noise_rank);
  const int8_t* a = elements_.data() + noise_rank * noise_run(spec.cols);
  numbers_.resize(noise_rank);
  for (size_t o = 0; o < spec.rows; ++o) {
    for (size_t q = 0; q < noise_rank; ++q) numbers_[q] = s * a[q * noise_run(spec.rows) + o];
    formed_isa_.form(w + o * spec.cols, numbers_.data(), elements_.data(), noise_run(spec.cols),
                     noise_rank, spec.cols, to.data() + o * spec.cols);
  }
}

}  // namespace eggroll::cpu
