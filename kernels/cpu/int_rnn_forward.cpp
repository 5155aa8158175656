// The forward pass of EGG for a block of members (perturbed) or streams (unperturbed), by one thread.
#include <algorithm>

#include "common/check.hpp"
#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/cpu/int_rnn.hpp"
#include "kernels/fixed_point.hpp"
#include "kernels/int_rnn_parts.hpp"

namespace eggroll::cpu {
namespace {

int log2_of(uint32_t power_of_two) { return 31 - __builtin_clz(power_of_two); }

}  // namespace

PerturbationScale CpuIntRnn::matrix_perturbation() const {
  return {kFractionBits + settings_.sigma_shift +
              log2_sqrt(static_cast<uint32_t>(settings_.noise_rank)),
          settings_.rounding};
}

PerturbationScale CpuIntRnn::vector_perturbation() const {
  return {kFractionBits + settings_.sigma_shift, settings_.rounding};
}

// Once for each version of the parameters.
void CpuIntRnn::pack_weights() {
  const Learner::View view = learner_.view();
  parameters_ = static_cast<const int8_t*>(view.parameters);
  if (packed_version_ == view.version) return;
  packed_.resize(layout_.tensors().size());
  int8_t* panels = panels_.data();
  int32_t* compensation = compensations_.data();
  for (size_t t = 0; t < packed_.size(); ++t) {
    const TensorSpec& tensor = layout_[t];
    if (tensor.role != Role::matrix) continue;
    packed_[t] = {panels, compensation, tensor.rows, tensor.cols};
    panels += tensor.size();
    compensation += tensor.rows;
  }
  team_.for_each(packed_.size(), [&](int, uint64_t t) {
    const PackedMatrix& m = packed_[t];
    if (m.out != 0)
      isa_.pack(parameters_ + layout_[t].at, m.out, m.in, const_cast<int8_t*>(m.panels),
                const_cast<int32_t*>(m.compensation));
  });
  packed_version_ = view.version;
}

// Of a matrix or the embedding, which has no b_sum.
BlockNoise CpuIntRnn::block_noise(const BlockWorkspace& w, size_t t) const {
  const TensorSpec& tensor = layout_[t];
  const int8_t* b = w.noise.data() + noise_offset_[t];
  return {.a = b + settings_.noise_rank * tensor.cols,
          .b = b,
          .stride = noise_elements(tensor, settings_.noise_rank),
          .b_sum = w.noise_sums.data() + noise_sum_offset_[t],
          .terms = settings_.noise_rank};
}

// The rows of all noise that a block needs. None of it is made here: products make some beside
// their own work, and finish_noise what is missing when a tensor is needed.
void CpuIntRnn::begin_noise(BlockWorkspace& w, uint32_t epoch, PairRange pairs) const {
  w.noise_rows.clear();
  for (const size_t t : order_of_use_) {
    const size_t count = noise_elements(layout_[t], settings_.noise_rank);
    for (uint64_t j = 0; j < pairs.count; ++j)
      w.noise_rows.push_back({.tensor = static_cast<uint32_t>(t),
                              .pair = static_cast<uint32_t>(pairs.first + j),
                              .count = static_cast<uint32_t>(count),
                              .out = w.noise.data() + noise_offset_[t] + j * count});
  }
  w.noise_left = {settings_.seed, epoch, w.noise_rows.data(),
                  w.noise_rows.data() + w.noise_rows.size()};
  w.tensors_ready = 0;
}

// Of the next tensor in the order of use.
void CpuIntRnn::finish_noise(BlockWorkspace& w, size_t t) const {
  require(order_of_use_[w.tensors_ready] == t, "tensors in the order of their use");
  const TensorSpec& tensor = layout_[t];
  const size_t pairs = w.noise_rows.size() / order_of_use_.size();
  const std::span<const NoiseRow> rows =
      std::span(w.noise_rows).subspan(w.tensors_ready * pairs, pairs);
  ++w.tensors_ready;
  const NoiseRow* end = rows.data() + rows.size();
  if (w.noise_left.next < end) {
    NoiseRows missing = w.noise_left;
    missing.end = end;
    isa_.noise(missing);
    w.noise_left.next = end;
    w.noise_left.made = 0;
  }
  if (tensor.role == Role::embedding) return;
  if (tensor.role == Role::matrix) {
    isa_.sum_b(block_noise(w, t), pairs, tensor.cols, w.noise_sums.data() + noise_sum_offset_[t]);
    return;
  }
  for (const NoiseRow& row : rows)
    isa_.perturb_vector(parameters_ + tensor.at, tensor.rows, vector_perturbation(), row.out);
}

void CpuIntRnn::embed(BlockWorkspace& w, int rows, const uint8_t* tokens, bool perturbed) const {
  const size_t width = settings_.shape.width;
  const int8_t* table = parameters_ + layout_[kEmbedding].at;
  if (perturbed) need_noise(w, kEmbedding);
  const BlockNoise noise = block_noise(w, kEmbedding);
  for (int row = 0; row < rows; ++row) {
    const int8_t* from = table + tokens[row] * width;
    int8_t* to = w.x.data() + row * width;
    if (!perturbed) {
      std::copy_n(from, width, to);
      continue;
    }
    const size_t pair = row / 2 * noise.stride;
    int32_t signed_a[16];
    for (int q = 0; q < noise.terms; ++q) {
      const int32_t value = noise.a[pair + q * kVocabulary + tokens[row]];
      signed_a[q] = row & 1 ? -value : value;
    }
    isa_.embed(from, signed_a, noise.b + pair, noise.terms, width, matrix_perturbation(), to);
  }
}

void CpuIntRnn::linear(BlockWorkspace& w, size_t tensor, int rows, const uint8_t* x, int8_t* y,
                       uint8_t flip, bool perturbed) const {
  if (perturbed) need_noise(w, tensor);
  const PackedMatrix& m = packed_[tensor];
  isa_.linear({.x = x,
               .rows = rows,
               .w = m,
               .shift = kFractionBits + log2_sqrt(static_cast<uint32_t>(m.in)),
               .noise = perturbed ? block_noise(w, tensor) : BlockNoise{},
               .perturbation = matrix_perturbation(),
               .projection = w.projection.data(),
               .meanwhile = perturbed ? &w.noise_left : nullptr,
               .flip = flip,
               .y = y});
}

// A vector parameter as every row has it: rows stride elements apart.
CpuIntRnn::VectorRows CpuIntRnn::vector_rows(BlockWorkspace& w, size_t tensor,
                                             bool perturbed) const {
  if (!perturbed) return {parameters_ + layout_[tensor].at, 0};
  need_noise(w, tensor);
  return {w.noise.data() + noise_offset_[tensor], settings_.shape.width};
}

// A zero byte as input starts a new document.
void CpuIntRnn::reset_rows_at_boundaries(BlockWorkspace& w, int rows, const uint8_t* tokens) const {
  const size_t width = settings_.shape.width;
  for (int row = 0; row < rows; ++row) {
    if (tokens[row] != 0) continue;
    for (uint32_t l = 0; l < settings_.shape.layers; ++l) {
      const size_t at = (l * block_rows_ + row) * width;
      std::fill_n(w.state.data() + at, width, int8_t{0});
      std::fill_n(w.state_u8.data() + at, width, uint8_t{0x80});
    }
  }
}

void CpuIntRnn::forward(BlockWorkspace& w, int rows, const uint8_t* tokens, bool perturbed) const {
  const IntRnnShape& shape = settings_.shape;
  const size_t width = shape.width;
  const int log2_width = log2_of(shape.width);
  const auto norm = [&](size_t tensor) {
    const VectorRows weights = vector_rows(w, tensor, perturbed);
    for (int row = 0; row < rows; ++row)
      isa_.layer_norm(w.x.data() + row * width, weights[row], width, log2_width,
                      w.normed.data() + row * width);
  };
  reset_rows_at_boundaries(w, rows, tokens);
  embed(w, rows, tokens, perturbed);
  for (uint32_t l = 0; l < shape.layers; ++l) {
    int8_t* h = w.state.data() + l * block_rows_ * width;
    uint8_t* h_u8 = w.state_u8.data() + l * block_rows_ * width;
    norm(vector_index(shape, l, kLn1));
    linear(w, matrix_index(l, kWf), rows, w.normed.data(), w.product_a.data(), 0, perturbed);
    linear(w, matrix_index(l, kUf), rows, h_u8, w.product_b.data(), 0, perturbed);
    const VectorRows forget_bias = vector_rows(w, vector_index(shape, l, kBf), perturbed);
    for (int row = 0; row < rows; ++row) {
      const size_t at = row * width;
      isa_.gru_forget(w.product_a.data() + at, w.product_b.data() + at, forget_bias[row], h + at,
                      width, w.forget.data() + at, w.gated.data() + at);
    }
    linear(w, matrix_index(l, kWh), rows, w.normed.data(), w.product_a.data(), 0, perturbed);
    linear(w, matrix_index(l, kUh), rows, w.gated.data(), w.product_b.data(), 0, perturbed);
    const VectorRows bias = vector_rows(w, vector_index(shape, l, kBh), perturbed);
    for (int row = 0; row < rows; ++row) {
      const size_t at = row * width;
      isa_.gru_update(w.product_a.data() + at, w.product_b.data() + at, bias[row],
                      w.forget.data() + at, width, h + at, h_u8 + at, w.x.data() + at);
    }
    norm(vector_index(shape, l, kLn2));
    linear(w, matrix_index(l, kW1), rows, w.normed.data(),
           reinterpret_cast<int8_t*>(w.hidden.data()), 0x80, perturbed);
    linear(w, matrix_index(l, kW2), rows, w.hidden.data(), w.product_a.data(), 0, perturbed);
    isa_.add_clip(w.product_a.data(), rows * width, w.x.data());
  }
  norm(out_norm_index(shape));
  linear(w, kHead, rows, w.normed.data(), w.logits.data(), 0, perturbed);
}

}  // namespace eggroll::cpu
