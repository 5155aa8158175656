// `eggroll bench kernels` and `eggroll bench noise`: single kernels of the chosen instruction set
// on one thread.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "coordinator/bench/bench.hpp"
#include "kernels/buffer.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/fixed_point.hpp"

namespace eggroll::bench {
namespace {

using cpu::Isa;

// Noise as any int8.
void fill(const Isa& isa, uint64_t seed, uint32_t tensor, Buffer<int8_t>& values) {
  const cpu::NoiseRow row{
      .tensor = tensor, .count = static_cast<uint32_t>(values.size()), .out = values.data()};
  isa.noise({seed, 0, &row, &row + 1});
}

// One layer with everything it reads; several stand side by side so that weights come from where a
// model's would.
struct Layer {
  Layer(const Isa& isa, size_t out, size_t in, uint32_t tensor)
      : isa(isa),
        tensor(tensor),
        weights(out * in),
        panels(out * in),
        compensation(out),
        x(rows() * in),
        y(rows() * out),
        noise(isa.block_pairs * (in + out)),
        b_sum(isa.block_pairs),
        projection(2 * rows()) {
    fill(isa, 1, tensor, weights);
    isa.pack(weights.data(), out, in, panels.data(), compensation.data());
    fill(isa, 2, tensor, x);
    for (auto& v : x.span()) v = static_cast<int8_t>(static_cast<uint8_t>(v) ^ 0x80);
    call = {.x = reinterpret_cast<const uint8_t*>(x.data()),
            .rows = static_cast<int>(rows()),
            .w = {panels.data(), compensation.data(), out, in},
            .shift = kFractionBits + log2_sqrt(static_cast<uint32_t>(in)),
            .noise = {.a = noise.data() + in,
                      .b = noise.data(),
                      .stride = in + out,
                      .b_sum = b_sum.data(),
                      .terms = 0},
            .perturbation = {.shift = 8, .rounding = Rounding::nearest},
            .projection = projection.data(),
            .flip = 0x80,
            .y = y.data()};
    for (uint32_t pair = 0; pair < isa.block_pairs; ++pair)
      noise_rows.push_back({.tensor = tensor,
                            .pair = pair,
                            .count = static_cast<uint32_t>(in + out),
                            .out = noise.data() + pair * (in + out)});
    begin_noise();
    finish_noise();
  }

  void begin_noise() {
    noise_left = {3, 0, noise_rows.data(), noise_rows.data() + noise_rows.size()};
  }
  void finish_noise() {
    isa.noise(noise_left);
    call.noise.terms = 1;
    isa.sum_b(call.noise, isa.block_pairs, call.w.in, b_sum.data());
  }

  void pure() {
    call.noise.terms = 0;
    isa.linear(call);
  }
  void perturbed(cpu::NoiseRows* meanwhile = nullptr) {
    call.noise.terms = 1;
    call.meanwhile = meanwhile;
    isa.linear(call);
  }

  size_t rows() const { return 2 * isa.block_pairs; }
  double operations() const {
    return 2.0 * static_cast<double>(rows()) * static_cast<double>(call.w.out * call.w.in);
  }

  const Isa& isa;
  uint32_t tensor;
  Buffer<int8_t> weights, panels;
  Buffer<int32_t> compensation;
  Buffer<int8_t> x, y, noise;
  Buffer<int32_t> b_sum, projection;
  std::vector<cpu::NoiseRow> noise_rows;
  cpu::NoiseRows noise_left;
  cpu::LinearCall call;
};

}  // namespace

void bench_kernels(const Settings& settings, Report& report) {
  const Isa& isa = cpu::choose_isa();
  report.note(
      fmt::format("perturbed linear layer y = clip8(x W^T + s (x B) A^T), int8, noise rank 1, {} "
                  "rows, instruction set {}, one thread",
                  2 * isa.block_pairs, isa.name));
  report.note(
      "ceiling: independent product instructions on registers alone, in the same process and in "
      "turn with the rest");
  report.note(
      "noise remade: for each call, that of the next layer beside the product of this one where "
      "the instruction set has it so, the rest before the call");
  constexpr struct {
    size_t out, in;
  } kShapes[] = {{64, 64}, {256, 64}, {256, 256}, {1024, 256}, {256, 1024}, {1024, 1024}};
  constexpr int kLayers = 8;
  for (const auto [out, in] : kShapes) {
    std::vector<std::unique_ptr<Layer>> layers;
    for (uint32_t l = 0; l < kLayers; ++l)
      layers.push_back(std::make_unique<Layer>(isa, out, in, l));
    const double operations = layers[0]->operations() * kLayers;
    constexpr uint64_t kIterations = 1000;
    const auto each = [&](auto&& f) {
      for (auto& layer : layers) f(*layer);
    };
    const auto rates =
        measure({{"ceiling", isa.product_loop(kIterations), [&] { isa.product_loop(kIterations); }},
                 {"pure", operations, [&] { each([](Layer& l) { l.pure(); }); }},
                 {"perturbed", operations, [&] { each([](Layer& l) { l.perturbed(); }); }},
                 {"remade", operations,
                  [&] {  // that of the next layer beside the product, as the model does
                    for (int l = 0; l < kLayers; ++l) {
                      Layer& next = *layers[(l + 1) % kLayers];
                      next.begin_noise();
                      layers[l]->perturbed(&next.noise_left);
                      next.finish_noise();
                    }
                  }}},
                settings.repetitions, settings.slice_s);
    const std::string shape = fmt::format("{}x{}", out, in);
    report.row("layer " + shape + " pure", "GOP/s", rates[1], 1e-9, "of ceiling",
               rates[1].median / rates[0].median);
    report.row("layer " + shape + " perturbed, noise kept", "GOP/s", rates[2], 1e-9, "of pure",
               rates[2].median / rates[1].median);
    report.row("layer " + shape + " perturbed, noise remade", "GOP/s", rates[3], 1e-9, "of pure",
               rates[3].median / rates[1].median);
  }
  bench_float_layers(settings, report);
}

void bench_noise(const Settings& settings, Report& report) {
  report.note(
      "int8 normals of the run's noise law into a 16 KiB buffer, one thread; ratio to the portable "
      "table");
  constexpr size_t kValues = 16384;
  Buffer<int8_t> out(kValues);
  uint32_t pair = 0;
  const auto make = [&](const Isa& isa) {
    return [&, fill = isa.noise] {
      const cpu::NoiseRow row{.tensor = 3, .pair = pair++, .count = kValues, .out = out.data()};
      fill({1, 2, &row, &row + 1});
    };
  };
  const Isa& isa = cpu::choose_isa();
  const auto rates =
      measure({{"scalar", kValues, make(cpu::isa_scalar())}, {isa.name, kValues, make(isa)}},
              settings.repetitions, settings.slice_s);
  report.row("noise scalar", "Gvalues/s", rates[0], 1e-9, "of scalar", 1.0);
  report.row(fmt::format("noise {}", isa.name), "Gvalues/s", rates[1], 1e-9, "of scalar",
             rates[1].median / rates[0].median);
}

}  // namespace eggroll::bench
