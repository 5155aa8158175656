#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/perturbed_linear.hpp"
#include "tests/gpu_check/benchmark.hpp"
#include "tests/gpu_check/ceilings.hpp"
#include "tests/gpu_check/twins.hpp"

namespace eggroll::gpu_check {
namespace {

class Table {
 public:
  explicit Table(std::string json_path) : path_(std::move(json_path)) {}
  // A line: what, the number, its unit, and what it is compared with.
  void add(const std::string& key, const std::string& what, double value, const std::string& unit,
           const std::string& note = "") {
    std::printf("%-58s %12.4g %-12s %s\n", what.c_str(), value, unit.c_str(), note.c_str());
    std::fflush(stdout);
    char number[64];
    std::snprintf(number, sizeof number, "%.6g", value);
    json_ += (json_.empty() ? "{\n" : ",\n") + std::string("  \"") + key + "\": " + number;
    write();
  }

 private:
  // After each figure: time may run out before the last.
  void write() const {
    if (path_.empty()) return;
    std::ofstream file(path_);
    file << json_ << "\n}\n";
    if (!file.flush()) throw Error("json = " + path_ + ": cannot be written");
  }

  std::string path_;
  std::string json_;
};

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

std::string population_name(uint64_t population) {
  int exponent = 0;
  while (uint64_t{1} << exponent < population) ++exponent;
  return "2^" + std::to_string(exponent);
}

// int8 operations of a token: 12 D^2 weights a layer and 256 D of the head, two operations each.
double operations_per_token(const IntRnnShape& shape) {
  const double width = shape.width;
  return 2.0 * (12.0 * shape.layers * width * width + 256.0 * width);
}

// Complete generations (scores, Z, step) as a run makes them, by the clock of the host.
void measure_generations(uint64_t population, uint32_t tokens, double int8_peak, Table& table) {
  IntRnnSettings settings;
  settings.seed = 3;
  size_t free_before = 0, free_after = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free_before, &total));
  Engines cuda(cuda::make_cuda_device({}), learner_settings(settings, "sigma-delta"));
  cuda.model = cuda.device->make_int_rnn(settings, *cuda.learner);
  const std::vector<int8_t> start = int_rnn_initial_parameters(settings.shape, settings.seed);
  cuda.learner->write(0, std::as_bytes(std::span(start)));
  const uint64_t pairs = population / 2;
  cuda.model->assign({0, pairs});
  oracle::Random random(5);
  const uint64_t slice = tokens + 1;
  std::vector<uint8_t> text(pairs * slice);
  for (uint8_t& byte : text) byte = static_cast<uint8_t>('a' + random() % 26);
  const int64_t threshold = 2 * 256 * oracle::isqrt(static_cast<int64_t>(pairs));
  const StepNumbers numbers = oracle::numbers_of({threshold, threshold});
  std::vector<double> evaluate_s, update_s;
  const int generations = population >= uint64_t{1} << 20 ? 4 : 6;  // the first one is left out
  for (int g = 0; g < generations; ++g) {
    const double begin = now_s();
    const std::vector<int32_t> score = cuda.scores({.generation = static_cast<uint64_t>(g),
                                                    .noise_epoch = static_cast<uint32_t>(g),
                                                    .segments = {text, slice, 0, 2, tokens}},
                                                   {0, pairs});
    const double evaluated = now_s();
    std::vector<int16_t> d(pairs);
    for (uint64_t j = 0; j < pairs; ++j)
      d[j] = static_cast<int16_t>((score[2 * j] > score[2 * j + 1]) -
                                  (score[2 * j] < score[2 * j + 1]));
    const double shaped = now_s();
    cuda.learner->reconstruct_and_step({static_cast<uint32_t>(g), 0, d}, numbers);
    cuda.learner->take_changed();
    if (g == 0) continue;
    update_s.push_back(now_s() - shaped);
    evaluate_s.push_back(evaluated - begin);
  }
  CUDA_CHECK(cudaMemGetInfo(&free_after, &total));
  const double evaluation = median(evaluate_s), update = median(update_s);
  const double generation = evaluation + update;
  const double tokens_per_s = static_cast<double>(population * tokens) / generation;
  const std::string key = "egg_" + population_name(population) + "_t" + std::to_string(tokens);
  const std::string name = "EGG 6 x 256, " + population_name(population) + " members, " +
                           std::to_string(tokens) + (tokens == 1 ? " token" : " tokens");
  table.add(key + "_generation_s", name + ": generation", generation, "s");
  table.add(key + "_tokens_per_s", "  member-tokens of complete generations", tokens_per_s,
            "tokens/s");
  table.add(key + "_share_of_int8_peak", "  its int8 operations / cuBLASLt's int8 product",
            tokens_per_s * operations_per_token(settings.shape) / int8_peak, "");
  table.add(key + "_update_share", "  update (Z and step) / generation", 100 * update / generation,
            "%");
  table.add(key + "_memory_gib", "  memory of the device",
            static_cast<double>(free_before - free_after) / (1 << 30), "GiB");
}

// The perturbed layer in bf16, its noise made on the fly, beside the product alone, which is
// measured before and after; the shorter time counts.
void measure_linear(uint32_t members, uint32_t width, Table& table) {
  const cuda::Stream stream;
  oracle::Random random(11);
  const auto random_matrix = [&](size_t size) {
    std::vector<uint16_t> values(size_t{1} << 20);
    for (uint16_t& value : values)  // bf16, +-0.5 to 2
      value = static_cast<uint16_t>((random() % 256) | 0x3f00 | (random() % 2 << 15));
    cuda::DeviceBuffer<uint16_t> matrix(size);
    for (size_t at = 0; at < size; at += values.size())
      cuda::copy_to_device(
          matrix.data() + at,
          std::span<const uint16_t>(values).first(std::min(values.size(), size - at)), stream);
    stream.synchronize();
    return matrix;
  };
  const cuda::DeviceBuffer<uint16_t> x = random_matrix(size_t{members} * width),
                                     w = random_matrix(size_t{width} * width);
  cuda::DeviceBuffer<uint16_t> y(size_t{members} * width);
  cuda::PerturbedLinear linear;
  cuda::PerturbedLinearCall call = {
      .product = {members, width, width, x.data(), w.data(), y.data()},
      .noise = {.seed = 3},
      .sigma = 0.01f};
  const auto product_s = [&] {
    return seconds_of(stream, 51, [&] { linear.forward_unperturbed(call.product, stream); });
  };
  double product = product_s();
  const uint32_t ranks[] = {1, 4, 16};
  double perturbed[3];
  for (int i = 0; i < 3; ++i) {
    call.noise_rank = ranks[i];
    perturbed[i] = seconds_of(stream, 51, [&] { linear.forward(call, stream); });
  }
  product = std::min(product, product_s());
  table.add("linear_product_us",
            "linear layer " + std::to_string(width) + " x " + std::to_string(width) + " bf16, " +
                std::to_string(members) + " members: product alone",
            1e6 * product, "us");
  for (int i = 0; i < 3; ++i) {
    const std::string rank = std::to_string(ranks[i]);
    table.add("linear_r" + rank + "_us", "  perturbed, r = " + rank + ", noise made on the fly",
              1e6 * perturbed[i], "us");
    table.add("linear_r" + rank + "_share", "  product alone / perturbed, r = " + rank,
              product / perturbed[i], "");
  }
}

}  // namespace

bool has_benchmark() { return true; }

void run_benchmark(const std::string& json) {
  Table table(json);
  const double copy = copy_bytes_per_s();
  table.add("copy_bytes_per_s", "copy within the device's memory, read + written", copy / 1e12,
            "TB/s");
  const double int8_peak = int8_product_ops_per_s(8192);
  table.add("int8_product_tops", "int8 product 8192^3, cuBLASLt", int8_peak / 1e12, "TOP/s");
  table.add("int8_instruction_tops", "int8 instruction m16n8k32 on registers",
            int8_instruction_ops_per_s() / 1e12, "TOP/s");
  table.add("bf16_product_tflops", "bf16 product 8192^3, cuBLASLt",
            bf16_product_ops_per_s(8192) / 1e12, "TFLOP/s");
  measure_linear(1024, 8192, table);
  for (const uint64_t population : {uint64_t{1} << 14, uint64_t{1} << 16, uint64_t{1} << 18})
    measure_generations(population, 100, int8_peak, table);
  for (const uint32_t tokens : {10u, 1u}) measure_generations(1 << 16, tokens, int8_peak, table);
  measure_generations(uint64_t{1} << 20, 100, int8_peak, table);
  const ParameterLayout layout = int_rnn_layout({});
  const double bytes = 4.0 * static_cast<double>(layout.size());
  table.add("all_reduce_mb", "sums of an update, int32", bytes / 1e6, "MB",
            "on paper, 8 GPUs in a ring at 450 GB/s each way: " +
                std::to_string(static_cast<int>(1e6 * 2 * 7 / 8 * bytes / 450e9)) + " us");
}

}  // namespace eggroll::gpu_check
