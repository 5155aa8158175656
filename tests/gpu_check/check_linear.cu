#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kernels/bfloat16.hpp"
#include "kernels/cuda/perturbed_linear.hpp"
#include "tests/gpu_check/checks.hpp"
#include "tests/support/perturbed_linear_oracle.hpp"

namespace eggroll::gpu_check {
namespace {

using cuda::DeviceBuffer;
using test::LayerShape;
using Random = std::mt19937_64;
using Bits = std::vector<uint16_t>;

constexpr uint16_t kPoison = 0x7fc1;  // a NaN that no rounding makes
constexpr size_t kMargin = 64;        // outputs before and behind y that must stay

// Normal numbers; so many of them that no two rows of a layer are alike, and then again.
Bits random_numbers(size_t size, float deviation, Random& random) {
  std::normal_distribution<float> normal(0, deviation);
  Bits some(std::min<size_t>(size, 1000003));
  for (uint16_t& number : some) number = bf16_of_float(normal(random));
  Bits all(size);
  for (size_t i = 0; i < size; ++i) all[i] = some[i % some.size()];
  return all;
}

// The pairs from `first` to `end` of a layer's outputs y.
void check_pairs(const LayerShape& shape, size_t first, size_t end, float sigma, NoiseAddress noise,
                 const Bits& x, const Bits& w, const Bits& y, Checks& checks) {
  LayerShape part = shape;
  part.members = std::min(2 * end, shape.members) - 2 * first;
  noise.pair += static_cast<uint32_t>(first);
  const auto expected = test::perturbed_linear_oracle(
      part, sigma, noise, std::span(x).subspan(2 * first * shape.in, part.members * shape.in), w);
  size_t outside = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    outside += !(std::abs(float_of_bf16(y[kMargin + 2 * first * shape.out + i]) - expected[i].y) <=
                 expected[i].bound);
  checks.expect(outside == 0, std::to_string(outside) + " of " + std::to_string(expected.size()) +
                                  " outputs further from the oracle than the bound");
}

// Of every so many pairs one is compared.
void check_layer(const LayerShape& shape, size_t every, Random& random, Checks& checks) {
  const float weight = 1 / std::sqrt(static_cast<float>(shape.in)), sigma = 0.3f * weight;
  const NoiseAddress noise = {random(), static_cast<uint32_t>(random()),
                              static_cast<uint32_t>(random()),
                              static_cast<uint32_t>(random() % 0x7fffffffu)};
  checks.about("linear layer, members " + std::to_string(shape.members) + " in " +
               std::to_string(shape.in) + " out " + std::to_string(shape.out) + " r " +
               std::to_string(shape.noise_rank) + " noise seed " + std::to_string(noise.seed));
  const Bits x = random_numbers(shape.members * shape.in, 1, random);
  const Bits w = random_numbers(shape.out * shape.in, weight, random);
  Bits y(shape.members * shape.out + 2 * kMargin, kPoison);
  const cuda::Stream stream;
  DeviceBuffer<uint16_t> device_x(x.size()), device_w(w.size()), device_y(y.size());
  cuda::copy_to_device(device_x.data(), x, stream);
  cuda::copy_to_device(device_w.data(), w, stream);
  cuda::copy_to_device(device_y.data(), y, stream);
  const cuda::PerturbedLinearCall call = {
      .product = {static_cast<uint32_t>(shape.members), static_cast<uint32_t>(shape.in),
                  static_cast<uint32_t>(shape.out), device_x.data(), device_w.data(),
                  device_y.data() + kMargin},
      .noise = noise,
      .noise_rank = static_cast<uint32_t>(shape.noise_rank),
      .sigma = sigma};
  cuda::PerturbedLinear linear;
  for (int time = 0; time < 2; ++time) {
    Bits again(y.size(), kPoison);
    cuda::copy_to_device(device_y.data(), again, stream);
    linear.forward(call, stream);
    cuda::copy_to_host(std::span(again), device_y.data(), stream);
    stream.synchronize();
    checks.expect(time == 0 || again == y, "the same bits the second time");
    y = again;
  }
  const auto is_poison = [](uint16_t bits) { return bits == kPoison; };
  checks.expect(std::all_of(y.begin(), y.begin() + kMargin, is_poison) &&
                    std::all_of(y.end() - kMargin, y.end(), is_poison),
                "what lies beside the outputs has been written to");
  const size_t pairs = (shape.members + 1) / 2;
  if (every == 1) return check_pairs(shape, 0, pairs, sigma, noise, x, w, y, checks);
  for (size_t pair = pairs - 1;; pair -= every) {
    check_pairs(shape, pair, pair + 1, sigma, noise, x, w, y, checks);
    if (pair < every) return;
  }
}

}  // namespace

void check_linear(const Options& options, Checks& checks) {
  Random random(options.seed + 3);
  const int layers = options.quick ? 4 : 40;
  for (int i = 0; i < layers; ++i) {
    const auto eights = [&] { return 8 * (1 + random() % (options.quick ? 40 : 200)); };
    const size_t ranks[] = {1, 4, 1 + random() % 20};
    const LayerShape shape = {1 + random() % (options.quick ? 9 : 90), eights(), eights(),
                              ranks[i % 3]};
    check_layer(shape, 1, random, checks);
  }
  if (options.quick) return;
  for (const size_t noise_rank : {1, 4, 16})  // the size of the figures
    check_layer({1024, 8192, 8192, noise_rank}, 170, random, checks);
}

}  // namespace eggroll::gpu_check
