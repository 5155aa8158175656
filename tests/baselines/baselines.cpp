// bench_baselines: our product of int8, unperturbed, beside those of well-kept libraries on one
// thread: oneDNN for u8 activations and s8 weights, and OpenBLAS for floats. All get the same
// numbers, oneDNN with its weights laid out beforehand as it likes them best; all are held to a
// plain reference before anything is timed, and the cases of a shape take turns. See --help.
//   exit codes: 0 done   1 a product is wrong, or a library failed   2 an option is wrong
#include <fmt/format.h>
#include <fmt/ostream.h>
#include <omp.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "coordinator/bench/bench.hpp"
#include "kernels/buffer.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/fixed_point.hpp"
#include "tests/baselines/sgemm.hpp"

namespace eggroll::baselines {
namespace {

using bench::Rate;

constexpr int kShift = 8;  // of the sums, so that they fill int8 without all being clipped

// Rows handed to our kernel at once, the same for all shapes: whole tiles of six, enough to make
// much of a panel of weights, and few enough to stay in the cache next to it. 32 and all 4096 come
// to within a hundredth of it.
constexpr int kRowsAtOnce = 96;

struct Shape {
  int rows, in, out;

  double operations() const { return 2.0 * rows * in * out; }
  std::string name() const { return fmt::format("{} x {} -> {}", rows, in, out); }
};

// What all products of a shape read.
struct Operands {
  explicit Operands(const Shape& s)
      : shape(s), x(static_cast<size_t>(s.rows) * s.in), w(static_cast<size_t>(s.out) * s.in) {
    std::mt19937 random(1);
    for (uint8_t& v : x.span()) v = static_cast<uint8_t>(1 + random() % 255);
    // No larger than 63: where there is no VNNI, oneDNN adds up two products in 16 bits and clips.
    for (int8_t& v : w.span()) v = static_cast<int8_t>(static_cast<int>(random() % 127) - 63);
  }

  Shape shape;
  Buffer<uint8_t> x;  // [rows, in], int8 ^ 0x80 to our kernel, plain u8 to oneDNN
  Buffer<int8_t> w;   // [out, in]
};

// y = clip8(((x - 128) W^T) >> kShift).
class Ours {
 public:
  Ours(const cpu::Isa& isa, const Operands& operands, int rows_at_once)
      : isa_(isa),
        x_(operands.x.data()),
        rows_(operands.shape.rows),
        rows_at_once_(rows_at_once),
        panels_(operands.w.size()),
        compensation_(operands.shape.out),
        y_(static_cast<size_t>(rows_) * operands.shape.out) {
    const size_t out = operands.shape.out, in = operands.shape.in;
    isa.pack(operands.w.data(), out, in, panels_.data(), compensation_.data());
    call_.w = {panels_.data(), compensation_.data(), out, in};
    call_.shift = kShift;
  }

  void run() {
    for (int row = 0; row < rows_; row += rows_at_once_) {
      call_.x = x_ + row * call_.w.in;
      call_.rows = std::min(rows_at_once_, rows_ - row);
      call_.y = y_.data() + row * call_.w.out;
      isa_.linear(call_);
    }
  }

  const int8_t* result() const { return y_.data(); }

 private:
  const cpu::Isa& isa_;
  const uint8_t* x_;
  int rows_, rows_at_once_;
  Buffer<int8_t> panels_;
  Buffer<int32_t> compensation_;
  Buffer<int8_t> y_;
  cpu::LinearCall call_;
};

// y = x W^T as s32, or rounded to s8 after a scale of 2^-kShift, which is the nearest thing oneDNN
// has to our shift and clip. By matmul; inner_product comes to the same kernels and the same time.
template <typename Result>
class OneDnn {
 public:
  explicit OneDnn(const Operands& operands)
      : engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_),
        y_(static_cast<size_t>(operands.shape.rows) * operands.shape.out) {
    using dnnl::memory;
    using type = memory::data_type;
    using tag = memory::format_tag;
    const auto [rows, in, out] = operands.shape;
    constexpr bool is_scaled = std::is_same_v<Result, int8_t>;
    const memory::desc x({rows, in}, type::u8, tag::ab);
    const memory::desc y({rows, out}, is_scaled ? type::s8 : type::s32, tag::ab);
    dnnl::primitive_attr attributes;
    if (is_scaled) attributes.set_output_scales(0, {std::ldexp(1.0f, -kShift)});  // 0: one for all
    const dnnl::matmul::primitive_desc product({x, {{in, out}, type::s8, tag::any}, y}, attributes,
                                               engine_);
    product_ = dnnl::matmul(product);
    kernel_ = product.impl_info_str();

    memory weights(product.weights_desc(), engine_);
    memory natural({{in, out}, type::s8, tag::ba}, engine_,
                   const_cast<int8_t*>(operands.w.data()));  // read only
    dnnl::reorder(natural, weights).execute(stream_, natural, weights);
    stream_.wait();
    arguments_ = {
        {DNNL_ARG_SRC, memory(x, engine_, const_cast<uint8_t*>(operands.x.data()))},  // read only
        {DNNL_ARG_WEIGHTS, weights},
        {DNNL_ARG_DST, memory(y, engine_, y_.data())}};
  }

  void run() {
    product_.execute(stream_, arguments_);
    stream_.wait();
  }

  const Result* result() const { return y_.data(); }
  const std::string& kernel() const { return kernel_; }

 private:
  dnnl::engine engine_;
  dnnl::stream stream_;
  Buffer<Result> y_;
  dnnl::matmul product_;
  std::string kernel_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

// y = x W^T as floats.
class Floats {
 public:
  explicit Floats(const Operands& operands)
      : shape_(operands.shape),
        x_(operands.x.size()),
        w_(operands.w.size()),
        y_(static_cast<size_t>(shape_.rows) * shape_.out) {
    std::ranges::copy(operands.x.span(), x_.data());
    std::ranges::copy(operands.w.span(), w_.data());
  }

  void run() { sgemm(shape_.rows, shape_.in, shape_.out, x_.data(), w_.data(), y_.data()); }
  const float* result() const { return y_.data(); }

 private:
  Shape shape_;
  Buffer<float> x_, w_, y_;
};

// Holds all products to sums written out, for a shape whose last rows are no full block of ours and
// whose sums a float holds exactly. Throws Error where one differs.
void check(const cpu::Isa& isa, int rows_at_once, bool has_sgemm) {
  const Operands operands({100, 256, 128});
  Ours ours(isa, operands, rows_at_once);
  OneDnn<int32_t> sums(operands);
  OneDnn<int8_t> scaled(operands);
  std::optional<Floats> floats;
  ours.run();
  sums.run();
  scaled.run();
  if (has_sgemm) floats.emplace(operands).run();

  const auto [rows, in, out] = operands.shape;
  for (int row = 0; row < rows; ++row)
    for (int o = 0; o < out; ++o) {
      int32_t sum = 0, weights = 0;
      for (int i = 0; i < in; ++i) {
        const int32_t w = operands.w.data()[o * in + i];
        sum += operands.x.data()[row * in + i] * w;
        weights += w;
      }
      const auto hold = [&, at = row * out + o](const char* what, auto result, double expected) {
        if (result[at] != expected)
          throw Error(fmt::format("{}: the product of row {} and output {} is {}, not {}", what,
                                  row, o, result[at], expected));
      };
      hold("ours", ours.result(), clip8((sum - 128 * weights) >> kShift));
      hold("oneDNN u8s8->s32", sums.result(), sum);
      hold("oneDNN u8s8->s8", scaled.result(),
           std::clamp(std::nearbyint(std::ldexp(sum, -kShift)), -128.0, 127.0));
      if (floats) hold("OpenBLAS sgemm", floats->result(), sum);
    }
}

// One kind of ratio, over the shapes.
class Ratios {
 public:
  Ratios(std::string name, std::string unit, std::string against)
      : name_(std::move(name)), unit_(std::move(unit)), against_(std::move(against)) {}

  void add(const Shape& shape, const Rate& rate, const Rate& against) {
    all_.push_back({shape.name(), rate, rate.median / against.median});
  }

  void report_last(bench::Report& report) const { row(report, all_.back().shape, all_.back()); }

  void report_summary(bench::Report& report) const {
    const double n = static_cast<double>(all_.size());
    One mean;
    for (const One& one : all_) {
      mean.rate.median += one.rate.median / n;
      mean.rate.spread += one.rate.spread / n;
      mean.ratio += one.ratio / n;
    }
    const auto [least, most] = std::ranges::minmax_element(all_, {}, &One::ratio);
    row(report, fmt::format("mean of {}", all_.size()), mean);
    row(report, "least, " + least->shape, *least);
    row(report, "most, " + most->shape, *most);
  }

 private:
  struct One {
    std::string shape;
    Rate rate;
    double ratio = 0;
  };

  void row(bench::Report& report, const std::string& where, const One& one) const {
    report.row(where + ": " + name_, unit_, one.rate, 1e-9, "of " + against_, one.ratio);
  }

  std::string name_, unit_, against_;
  std::vector<One> all_;
};

struct Options {
  bench::Settings settings;
  int rows_at_once = kRowsAtOnce;
};

void measure_all(const cpu::Isa& isa, const Options& options, bench::Report& report) {
  const std::optional<std::string> openblas = prepare_sgemm();
  report.note(fmt::format(
      "y = x W^T, rows x in -> out, one thread. Ours: clip8(sum >> {}), instruction set {}, "
      "{} rows at once",
      kShift, isa.name, options.rows_at_once));
  const dnnl_version_t& version = *dnnl::version();
  report.note(fmt::format("oneDNN {}.{}.{}: s8 results with a scale of 2^-{}; sgemm: {}",
                          version.major, version.minor, version.patch, kShift,
                          openblas.value_or("left out, built without OpenBLAS")));
  report.note(
      "weights are packed or reordered beforehand, except sgemm's, whose interface has no place "
      "for that; ceiling: our product instructions on registers alone");
  check(isa, options.rows_at_once, openblas.has_value());

  Ratios ours("ours", "GOP/s", "oneDNN u8s8->s8"), beside_sums("ours", "GOP/s", "oneDNN u8s8->s32"),
      height("ours", "GOP/s", "ceiling"), scaled_height("oneDNN u8s8->s8", "GOP/s", "ceiling"),
      sums_height("oneDNN u8s8->s32", "GOP/s", "ceiling"),
      floats("OpenBLAS sgemm", "GFLOP/s", "ours");
  std::set<std::string> kernels;
  constexpr struct {
    int in, out;
  } kLayers[] = {{256, 256}, {256, 1024}, {1024, 256}, {512, 512}, {2048, 2048}};
  for (const auto [in, out] : kLayers)
    for (const int rows : {64, 256, 512, 1024, 4096}) {
      const Operands operands({rows, in, out});
      Ours product(isa, operands, options.rows_at_once);
      OneDnn<int8_t> scaled(operands);
      OneDnn<int32_t> sums(operands);
      kernels.insert({scaled.kernel(), sums.kernel()});
      std::optional<Floats> sgemm_product;
      const double work = operands.shape.operations();
      constexpr uint64_t kIterations = 1000;
      std::vector<bench::Case> cases = {
          {"ceiling", isa.product_loop(kIterations), [&] { isa.product_loop(kIterations); }},
          {"ours", work, [&] { product.run(); }},
          {"oneDNN s8", work, [&] { scaled.run(); }},
          {"oneDNN s32", work, [&] { sums.run(); }}};
      if (openblas) {
        sgemm_product.emplace(operands);
        cases.push_back({"sgemm", work, [&] { sgemm_product->run(); }});
      }
      const std::vector<Rate> rates =
          bench::measure(cases, options.settings.repetitions, options.settings.slice_s);
      ours.add(operands.shape, rates[1], rates[2]);
      beside_sums.add(operands.shape, rates[1], rates[3]);
      height.add(operands.shape, rates[1], rates[0]);
      scaled_height.add(operands.shape, rates[2], rates[0]);
      sums_height.add(operands.shape, rates[3], rates[0]);
      if (openblas) floats.add(operands.shape, rates[4], rates[1]);
      ours.report_last(report);
      scaled_height.report_last(report);
      sums_height.report_last(report);
      if (openblas) floats.report_last(report);
    }
  report.note(fmt::format("oneDNN's kernels: {}", fmt::join(kernels, ", ")));
  for (const Ratios* ratios : {&ours, &beside_sums, &height, &scaled_height, &sums_height})
    ratios->report_summary(report);
  if (openblas) floats.report_summary(report);
}

int run(const std::vector<std::string>& arguments) {
  namespace po = boost::program_options;
  Options options;
  po::options_description known(
      "bench_baselines: our product of int8 beside those of oneDNN and OpenBLAS, one thread");
  known.add_options()("rows-at-once",
                      po::value(&options.rows_at_once)->default_value(kRowsAtOnce)->value_name("N"),
                      "rows handed to our kernel at once")(
      "repetitions", po::value(&options.settings.repetitions)->default_value(15)->value_name("N"),
      "of each figure; medians are printed")("json", "one JSON object instead of text")(
      "help", "this text");
  po::variables_map values;
  try {
    using namespace po::command_line_style;
    po::store(po::command_line_parser(arguments)
                  .options(known)
                  .positional({})
                  .style(allow_long | long_allow_next | long_allow_adjacent)
                  .run(),
              values);
    po::notify(values);
  } catch (const po::too_many_positional_options_error&) {
    throw ConfigError("only options of the form --name value are allowed");
  } catch (const po::error& e) {
    throw ConfigError(fmt::format("{}; see bench_baselines --help", e.what()));
  }
  if (values.count("help")) {
    fmt::print("{}", fmt::streamed(known));
    return 0;
  }
  if (options.rows_at_once < 1 || options.rows_at_once > 4096)
    throw ConfigError(
        fmt::format("rows-at-once = {}: allowed are 1 to 4096", options.rows_at_once));
  if (options.settings.repetitions < 1 || options.settings.repetitions > 10000)
    throw ConfigError(
        fmt::format("repetitions = {}: allowed are 1 to 10000", options.settings.repetitions));
  const cpu::Isa& isa = cpu::choose_isa();
  omp_set_num_threads(1);  // oneDNN's, before it is asked for anything
  std::vector<std::string> command = arguments;
  command.insert(command.begin(), "bench_baselines");
  bench::Report report(fmt::format("{}", fmt::join(command, " ")), values.count("json") != 0);
  measure_all(isa, options, report);
  report.finish();
  return 0;
}

}  // namespace
}  // namespace eggroll::baselines

int main(int argc, char** argv) {
  try {
    return eggroll::baselines::run({argv + 1, argv + argc});
  } catch (const eggroll::ConfigError& e) {
    fmt::print(stderr, "bench_baselines: {}\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_baselines: {}\n", e.what());
    return 1;
  }
}
