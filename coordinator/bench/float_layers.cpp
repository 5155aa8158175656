// The part of `eggroll bench kernels` that is about the float layer, on one thread.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "coordinator/bench/bench.hpp"
#include "kernels/bfloat16.hpp"
#include "kernels/buffer.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/cpu/perturbed_linear.hpp"

namespace eggroll::bench {
namespace {

constexpr uint32_t kPairs = 24;
constexpr size_t kRows = 2 * kPairs;

float from_float(float value, float) { return value; }
uint16_t from_float(float value, uint16_t) { return bf16_of_float(value); }

// One layer with everything it reads, and noise of two ranks for it.
template <typename T>
class FloatLayer {
 public:
  FloatLayer(size_t out, size_t in, uint32_t tensor)
      : out_(out), in_(in), panels_(cpu::panel_elements(out, in)), x_(kRows * in), y_(kRows * out) {
    const auto fill = [](std::span<T> values, const NoiseAddress& at, float scale) {
      for (size_t i = 0; i < values.size(); ++i)
        values[i] = from_float(scale * noise_element(at, static_cast<uint32_t>(i)), T{});
    };
    Buffer<T> w(out * in);
    fill(w.span(), {1, 0, tensor, 0}, 1 / (16 * std::sqrt(static_cast<float>(in))));
    fill(x_.span(), {2, 0, tensor, 0}, 1.0f / 16);
    cpu::pack_panels(w.data(), out, in, panels_.data());
    make_noise(rank1_, 1, tensor);
    make_noise(rank4_, 4, tensor);
  }

  void pure(const cpu::FloatIsa<T>& isa) { run(isa, nullptr, 1); }
  void rank1(const cpu::FloatIsa<T>& isa) { run(isa, &rank1_, 1); }
  void rank4(const cpu::FloatIsa<T>& isa) { run(isa, &rank4_, 4); }

  double operations() const { return 2.0 * kRows * static_cast<double>(in_ * out_); }

 private:
  static constexpr float kSigma = 0.01f;

  size_t stride(size_t noise_rank) const { return low_rank_elements(in_, out_, noise_rank); }

  void make_noise(Buffer<int8_t>& noise, size_t noise_rank, uint32_t tensor) {
    noise = Buffer<int8_t>(kPairs * stride(noise_rank));
    std::vector<cpu::NoiseRow> rows;
    for (uint32_t pair = 0; pair < kPairs; ++pair)
      rows.push_back({.tensor = tensor,
                      .pair = pair,
                      .count = static_cast<uint32_t>(stride(noise_rank)),
                      .out = noise.data() + pair * stride(noise_rank)});
    cpu::choose_isa().noise({3, 0, rows.data(), rows.data() + rows.size()});
  }

  void run(const cpu::FloatIsa<T>& isa, const Buffer<int8_t>* noise, size_t noise_rank) {
    rows_.clear();
    const float scale = cpu::perturbation_scale(kSigma, noise_rank);
    for (size_t row = 0; noise != nullptr && row < kRows; ++row)
      rows_.push_back(
          {noise->data() + row / 2 * stride(noise_rank), row % 2 == 0 ? scale : -scale});
    cpu::perturbed_linear(isa, {.x = x_.data(),
                                .panels = panels_.data(),
                                .rows = kRows,
                                .in = in_,
                                .out = out_,
                                .noise = noise != nullptr ? rows_.data() : nullptr,
                                .noise_rank = noise_rank,
                                .projection = projection_.data(),
                                .y = y_.data()});
  }

  size_t out_, in_;
  Buffer<T> panels_, x_, y_;
  Buffer<int8_t> rank1_, rank4_;
  Buffer<float> projection_{4 * kRows};
  std::vector<cpu::NoisyRow> rows_;
};

template <typename T>
void measure_layers(const std::string& element, const Settings& settings, Report& report) {
  const cpu::FloatIsa<T>& isa = cpu::float_isa_of<T>(cpu::choose_isa());
  report.note(fmt::format(
      "perturbed linear layer y = x W^T + s (x B) A^T, {}, {} rows, noise kept, instruction set {}",
      element, kRows, isa.name));
  constexpr uint32_t kLayers = 4;
  for (const size_t width : {256, 1024}) {
    std::vector<std::unique_ptr<FloatLayer<T>>> layers;
    for (uint32_t l = 0; l < kLayers; ++l)
      layers.push_back(std::make_unique<FloatLayer<T>>(width, width, l));
    const auto each = [&](void (FloatLayer<T>::*run)(const cpu::FloatIsa<T>&)) {
      return [&layers, &isa, run] {
        for (auto& layer : layers) (*layer.*run)(isa);
      };
    };
    const double operations = layers[0]->operations() * kLayers;
    constexpr uint64_t kIterations = 1000;
    const auto rates =
        measure({{"ceiling", isa.product_loop(kIterations), [&] { isa.product_loop(kIterations); }},
                 {"pure", operations, each(&FloatLayer<T>::pure)},
                 {"rank 1", operations, each(&FloatLayer<T>::rank1)},
                 {"rank 4", operations, each(&FloatLayer<T>::rank4)}},
                settings.repetitions, settings.slice_s);
    const std::string layer = fmt::format("layer {} {}x{} ", element, width, width);
    report.row(layer + "pure", "GFLOP/s", rates[1], 1e-9, "of ceiling",
               rates[1].median / rates[0].median);
    report.row(layer + "perturbed, noise rank 1", "GFLOP/s", rates[2], 1e-9, "of pure",
               rates[2].median / rates[1].median);
    report.row(layer + "perturbed, noise rank 4", "GFLOP/s", rates[3], 1e-9, "of pure",
               rates[3].median / rates[1].median);
  }
}

}  // namespace

void bench_float_layers(const Settings& settings, Report& report) {
  measure_layers<float>("fp32", settings, report);
  measure_layers<uint16_t>("bf16", settings, report);
}

}  // namespace eggroll::bench
