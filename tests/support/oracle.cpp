#include "tests/support/oracle.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

#include "kernels/optimizers/sigma_delta.hpp"
#include "kernels/optimizers/threshold.hpp"

namespace eggroll::oracle {

int64_t clip8(int64_t value) { return std::min<int64_t>(127, std::max<int64_t>(-127, value)); }

int64_t floor_div(int64_t numerator, int64_t positive) {
  const int64_t quotient = numerator / positive;
  return numerator % positive < 0 ? quotient - 1 : quotient;
}

int64_t isqrt(int64_t value) {
  int64_t root = 0;
  while ((root + 1) * (root + 1) <= value) ++root;
  return root;
}

int64_t round_perturbation(int64_t value, int sign, int shift, Rounding rounding) {
  const int64_t divisor = int64_t{1} << shift;
  if (rounding == Rounding::floor) return floor_div(sign * value, divisor);
  const int64_t magnitude = (std::abs(value) + divisor / 2) / divisor;
  return sign * (value < 0 ? -magnitude : magnitude);
}

// Irrational unless y is a multiple of 16, where exp2 is exact: the nearest any of the others comes
// to an integer is far more than the error of a double.
int64_t exp2_16(int64_t y) {
  return static_cast<int64_t>(std::floor(16.0 * std::exp2(static_cast<double>(y) / 16.0)));
}

// floor(16 log2(sum)) = floor(log2(sum^16)), one less than the number of bits of sum^16, computed
// in full.
int64_t log2_16(int64_t sum) {
  std::vector<uint32_t> power{1};
  for (int i = 0; i < 16; ++i) {
    uint64_t carry = 0;
    for (uint32_t& word : power) {
      carry += uint64_t{word} * static_cast<uint64_t>(sum);
      word = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) power.push_back(static_cast<uint32_t>(carry));
  }
  const int64_t bits = 32 * static_cast<int64_t>(power.size() - 1) + std::bit_width(power.back());
  return bits - 1 - 16 * 4;
}

int64_t byte_score(const Vector& logits, uint8_t target) {
  int64_t sum = 0;
  for (int64_t logit : logits) sum += exp2_16(logit + 128);
  return logits[target] + 128 - log2_16(sum);
}

double byte_loss(const Vector& logits, uint8_t target) {
  double sum = 0;
  for (int64_t logit : logits) sum += std::exp2(static_cast<double>(logit + 128) / 16.0);
  return std::log2(sum) - static_cast<double>(logits[target] + 128) / 16.0;
}

namespace {

size_t run_of(size_t elements) {
  while (elements % 64 != 0) ++elements;
  return elements;
}

// B of term q at input i, A of term q at output o.
int64_t noise_b(const TensorSpec& tensor, const Vector& noise, size_t q, size_t i) {
  return noise[q * run_of(tensor.cols) + i];
}
int64_t noise_a(const TensorSpec& tensor, const Vector& noise, size_t r, size_t q, size_t o) {
  return noise[r * run_of(tensor.cols) + q * run_of(tensor.rows) + o];
}

// E of a pair at a row and a column, as integers.
int64_t perturbation(const TensorSpec& tensor, const Vector& noise, size_t r, size_t row,
                     size_t col) {
  const size_t element = row * tensor.cols + col;
  int64_t sum = 0;
  switch (tensor.noise) {
    case Noise::low_rank:
      for (size_t q = 0; q < r; ++q)
        sum += noise_a(tensor, noise, r, q, row) * noise_b(tensor, noise, q, col);
      return sum;
    case Noise::product:
      return noise[element] * noise[run_of(tensor.size()) + element];
    case Noise::full:
      return noise[element];
    case Noise::none:
      return 0;
  }
  return sum;
}

// sigma / (16 * 16) of two noise values against weights with 4 fractional bits, and 1 / sqrt(r) for
// r terms.
int vector_shift(const IntRnnSettings& settings) { return 4 + settings.sigma_shift; }
int matrix_shift(const IntRnnSettings& settings) {
  return 4 + settings.sigma_shift + static_cast<int>(std::log2(isqrt(settings.noise_rank)));
}

}  // namespace

Vector tensor_noise(const TensorSpec& tensor, int noise_rank, const NoiseAddress& at) {
  const size_t r = static_cast<size_t>(noise_rank);
  const size_t elements = tensor.noise == Noise::low_rank
                              ? r * (run_of(tensor.rows) + run_of(tensor.cols))
                          : tensor.noise == Noise::product ? 2 * run_of(tensor.size())
                          : tensor.noise == Noise::full    ? run_of(tensor.size())
                                                           : 0;
  Vector noise(elements);
  for (size_t e = 0; e < elements; ++e) noise[e] = noise_element(at, static_cast<uint32_t>(e));
  return noise;
}

Model::Model(const IntRnnSettings& settings, std::span<const int8_t> parameters,
             Perturbation perturbation)
    : settings_(settings),
      layout_(int_rnn_layout(settings.shape)),
      parameters_(parameters.begin(), parameters.end()),
      perturbation_(perturbation) {
  if (perturbation.sign == 0) return;
  for (size_t t = 0; t < layout_.tensors().size(); ++t)
    noise_.push_back(tensor_noise(
        layout_[t], settings_.noise_rank,
        {settings_.seed, perturbation.noise_epoch, static_cast<uint32_t>(t), perturbation.pair}));
}

size_t Model::tensor_of(uint32_t layer, const char* name) const {
  return layout_.index_of("layers." + std::to_string(layer) + "." + name);
}

Vector Model::embed(uint8_t token) const {
  const size_t t = layout_.index_of("emb");
  const TensorSpec& tensor = layout_[t];
  Vector x(tensor.cols);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = parameters_[tensor.at + token * size_t{tensor.cols} + i];
    if (perturbation_.sign == 0) continue;
    int64_t product = 0;
    for (int q = 0; q < settings_.noise_rank; ++q)
      product += noise_a(tensor, noise_[t], settings_.noise_rank, q, token) *
                 noise_b(tensor, noise_[t], q, i);
    x[i] = clip8(x[i] + round_perturbation(product, perturbation_.sign, matrix_shift(settings_),
                                           settings_.rounding));
  }
  return x;
}

Vector Model::vector(size_t t) const {
  const TensorSpec& tensor = layout_[t];
  Vector v(tensor.rows);
  for (size_t i = 0; i < v.size(); ++i) {
    v[i] = parameters_[tensor.at + i];
    if (perturbation_.sign == 0) continue;
    const int64_t z = noise_[t][i] * noise_[t][v.size() + i];
    v[i] = clip8(v[i] + round_perturbation(z, perturbation_.sign, vector_shift(settings_),
                                           settings_.rounding));
  }
  return v;
}

Vector Model::matmul(size_t t, const Vector& u) const {
  const TensorSpec& tensor = layout_[t];
  const int r = settings_.noise_rank;
  Vector p(r, 0);
  if (perturbation_.sign != 0)
    for (int q = 0; q < r; ++q)
      for (size_t i = 0; i < u.size(); ++i) p[q] += u[i] * noise_b(tensor, noise_[t], q, i);
  Vector y(tensor.rows);
  for (size_t o = 0; o < y.size(); ++o) {
    int64_t sum = 0;
    for (size_t i = 0; i < u.size(); ++i)
      sum += u[i] * parameters_[tensor.at + o * tensor.cols + i];
    if (perturbation_.sign != 0) {
      int64_t product = 0;
      for (int q = 0; q < r; ++q) product += p[q] * noise_a(tensor, noise_[t], r, q, o);
      sum += round_perturbation(product, perturbation_.sign, matrix_shift(settings_),
                                settings_.rounding);
    }
    y[o] = clip8(floor_div(sum, 16 * isqrt(tensor.cols)));
  }
  return y;
}

Vector Model::layer_norm(const Vector& u, const Vector& weight) {
  int64_t sum = 0;
  for (int64_t value : u) sum += std::abs(value);
  int64_t a = std::max<int64_t>(1, sum) / static_cast<int64_t>(u.size());
  if (a == 0) a = 1;
  Vector y(u.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = clip8(floor_div(u[i] * weight[i], a));
  return y;
}

Vector Model::gru(uint32_t layer, const Vector& x, const Vector& h) const {
  const size_t width = x.size();
  const Vector wf = matmul(tensor_of(layer, "Wf"), x);
  const Vector uf = matmul(tensor_of(layer, "Uf"), h);
  const Vector bf = vector(tensor_of(layer, "bf"));
  Vector f(width), g(width);
  for (size_t i = 0; i < width; ++i) {
    f[i] = clip8(wf[i] + uf[i] + bf[i]);
    g[i] = floor_div((f[i] + 127) * h[i], 256);
  }
  const Vector wh = matmul(tensor_of(layer, "Wh"), x);
  const Vector uh = matmul(tensor_of(layer, "Uh"), g);
  const Vector bh = vector(tensor_of(layer, "bh"));
  Vector next(width);
  for (size_t i = 0; i < width; ++i) {
    const int64_t c = clip8(wh[i] + uh[i] + bh[i]);
    next[i] = h[i] + floor_div((f[i] + 127) * (c - h[i]), 256);
  }
  return next;
}

Vector Model::layer(uint32_t layer, Vector x, Vector& h) const {
  h = gru(layer, layer_norm(x, vector(tensor_of(layer, "ln1"))), h);
  for (size_t i = 0; i < x.size(); ++i) x[i] = clip8(x[i] + h[i]);
  const Vector inner =
      matmul(tensor_of(layer, "W1"), layer_norm(x, vector(tensor_of(layer, "ln2"))));
  const Vector outer = matmul(tensor_of(layer, "W2"), inner);
  for (size_t i = 0; i < x.size(); ++i) x[i] = clip8(x[i] + outer[i]);
  return x;
}

Vector Model::next_logits(uint8_t token, Vector& state) const {
  const size_t width = settings_.shape.width;
  if (token == 0) std::fill(state.begin(), state.end(), 0);
  Vector x = embed(token);
  for (uint32_t l = 0; l < settings_.shape.layers; ++l) {
    Vector h(state.begin() + l * width, state.begin() + (l + 1) * width);
    x = layer(l, std::move(x), h);
    std::copy(h.begin(), h.end(), state.begin() + l * width);
  }
  return matmul(layout_.index_of("head"), layer_norm(x, vector(layout_.index_of("ln_out"))));
}

uint8_t segment_byte(const Segments& segments, uint64_t sequence, uint64_t i) {
  return segments
      .text[sequence * segments.slice_bytes + (segments.position + i) % segments.slice_bytes];
}

int64_t evaluate_member(const IntRnnSettings& settings, std::span<const int8_t> parameters,
                        const Evaluation& evaluation, uint64_t member, Vector& state) {
  const Model model(
      settings, parameters,
      {evaluation.noise_epoch, static_cast<uint32_t>(member / 2), member % 2 == 0 ? 1 : -1});
  const uint64_t sequence = member / evaluation.segments.group_size;
  int64_t score = 0;
  for (uint32_t i = 0; i < evaluation.segments.tokens; ++i) {
    const Vector logits = model.next_logits(segment_byte(evaluation.segments, sequence, i), state);
    score += byte_score(logits, segment_byte(evaluation.segments, sequence, i + 1));
  }
  return score;
}

PairScores evaluate_pair(const IntRnnSettings& settings, std::span<const int8_t> parameters,
                         const Evaluation& evaluation, uint64_t pair, std::vector<Vector>& slots) {
  const Vector zero(size_t{settings.shape.layers} * settings.shape.width, 0);
  Vector state[2] = {zero, zero};
  if (settings.carry == Carry::own) state[0] = slots[0], state[1] = slots[1];
  if (settings.carry == Carry::pair) state[0] = state[1] = slots[0];
  PairScores scores;
  scores.plus = evaluate_member(settings, parameters, evaluation, 2 * pair, state[0]);
  scores.minus = evaluate_member(settings, parameters, evaluation, 2 * pair + 1, state[1]);
  if (settings.carry == Carry::own) slots[0] = state[0], slots[1] = state[1];
  if (settings.carry == Carry::pair) slots[0] = state[evaluation.generation & 1];
  return scores;
}

Vector reconstruct(const LearnerSettings& settings, const Utilities& utilities) {
  Vector z(settings.layout.trained(), 0);
  for (size_t j = 0; j < utilities.d.size(); ++j) {
    if (utilities.d[j] == 0) continue;  // adds nothing
    for (size_t t = 0; t < settings.layout.tensors().size(); ++t) {
      const TensorSpec& tensor = settings.layout[t];
      if (tensor.noise == Noise::none) continue;
      const Vector noise =
          tensor_noise(tensor, settings.noise_rank,
                       {settings.seed, utilities.noise_epoch, static_cast<uint32_t>(t),
                        static_cast<uint32_t>(utilities.first_pair + j)});
      for (size_t row = 0; row < tensor.rows; ++row)
        for (size_t col = 0; col < tensor.cols; ++col)
          z[tensor.offset + row * tensor.cols + col] +=
              utilities.d[j] *
              perturbation(tensor, noise, static_cast<size_t>(settings.noise_rank), row, col);
    }
  }
  return z;
}

StepNumbers numbers_of(const Thresholds& thresholds) {
  StepNumbers numbers;
  static_assert(sizeof(Threshold::Numbers) == sizeof(SigmaDelta::Numbers));
  for (const Noise noise : {Noise::low_rank, Noise::product, Noise::full})
    numbers.put(noise, Threshold::Numbers{thresholds.of(noise)});
  return numbers;
}

uint64_t step(const LearnerSettings& settings, const Thresholds& thresholds, const Vector& z,
              std::vector<int8_t>& parameters, std::vector<int32_t>& accumulators) {
  uint64_t changed = 0;
  for (const TensorSpec& tensor : settings.layout.tensors()) {
    if (tensor.noise == Noise::none) continue;
    const int64_t threshold = thresholds.of(tensor.noise);
    for (size_t i = 0; i < tensor.size(); ++i) {
      const size_t e = tensor.offset + i;  // among the trained; int8: a byte an element
      int64_t moves = 0;
      if (settings.optimizer == "threshold") {
        if (z[e] != 0 && std::abs(z[e]) >= threshold) moves = z[e] > 0 ? 1 : -1;
      } else {
        // "While |M| >= threshold: move by sign(M), take a threshold off M", all at once.
        int64_t m = int64_t{accumulators[e]} + z[e];
        moves = std::abs(m) / threshold * (m < 0 ? -1 : 1);
        m -= moves * threshold;
        accumulators[e] = static_cast<int32_t>(m);
      }
      int8_t& parameter = parameters[tensor.at + i];
      const int64_t moved = clip8(parameter + moves);
      if (moved != parameter) ++changed;
      parameter = static_cast<int8_t>(moved);
    }
  }
  return changed;
}

TextScores score_streams(const IntRnnSettings& settings, std::span<const int8_t> parameters,
                         std::span<const uint8_t> text, uint64_t streams, uint64_t first,
                         uint64_t count) {
  const Model model(settings, parameters);
  const uint64_t n = text.size() / streams;
  TextScores scores;
  for (uint64_t s = first; s < first + count; ++s) {
    Vector state(size_t{settings.shape.layers} * settings.shape.width, 0);
    for (uint64_t i = 0; i + 1 < n; ++i) {
      const Vector logits = model.next_logits(text[s * n + i], state);
      scores.score_sum += byte_score(logits, text[s * n + i + 1]);
      scores.loss += byte_loss(logits, text[s * n + i + 1]);
      ++scores.tokens;
    }
  }
  return scores;
}

std::vector<int8_t> random_states(size_t n, Random& random) {
  std::vector<int8_t> states(n);
  for (int8_t& s : states) s = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  return states;
}

std::vector<uint8_t> random_text(size_t n, Random& random) {
  std::vector<uint8_t> text(n);
  for (uint8_t& byte : text) byte = random() % 6 == 0 ? 0 : static_cast<uint8_t>(random());
  return text;
}

std::vector<int8_t> start_parameters(const IntRnnShape& shape, Start start, Random& random) {
  const ParameterLayout layout = int_rnn_layout(shape);
  std::vector<int8_t> values = random_states(layout.size(), random);
  if (start == Start::full_range) return values;
  const std::vector<int8_t> initial = int_rnn_initial_parameters(shape, random());
  if (start == Start::initial) return initial;
  for (const TensorSpec& tensor : layout.tensors()) {
    const auto begin = values.begin() + static_cast<ptrdiff_t>(tensor.at);
    if (start == Start::extreme) {
      for (size_t row = 0; row < tensor.rows; ++row)
        std::fill_n(begin + row * tensor.cols, tensor.cols,
                    static_cast<int8_t>(random() % 2 == 0 ? 127 : -127));
    } else if (tensor.name == "emb") {  // every third row and three quarters of the others
      for (size_t e = 0; e < tensor.size(); ++e)
        begin[e] = e / tensor.cols % 3 == 0 || random() % 4 != 0 ? 0 : begin[e] < 0 ? -1 : 1;
    } else if (tensor.role == Role::matrix) {
      std::copy_n(initial.begin() + static_cast<ptrdiff_t>(tensor.at), tensor.size(), begin);
    }
  }
  return values;
}

}  // namespace eggroll::oracle
