// `eggroll bench model` and `eggroll bench update`: whole generations of the language model through
// the engines, as a run does them.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <optional>

#include "common/layout.hpp"
#include "common/noise.hpp"
#include "common/stopwatch.hpp"
#include "coordinator/bench/bench.hpp"
#include "coordinator/shaping.hpp"
#include "coordinator/tiles/own_pairs.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/cpu/thread_team.hpp"
#include "kernels/device.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"
#include "kernels/optimizers.hpp"

namespace eggroll::bench {
namespace {

// Integer operations of one token: two for each weight of each matrix.
double operations_per_token(const ParameterLayout& layout) {
  double operations = 0;
  for (const TensorSpec& t : layout.tensors())
    if (t.role == Role::matrix) operations += 2.0 * static_cast<double>(t.size());
  return operations;
}

std::unique_ptr<Device> make_bench_device(const Settings& s) {
  return make_device(s.device.name, {.threads = s.threads, .index = s.device.index});
}

// A population at work on made-up text.
class Bench {
 public:
  explicit Bench(const Settings& s)
      : settings_(s),
        device_(make_bench_device(s)),
        learner_(device_->make_learner({.layout = int_rnn_layout(s.shape), .seed = 1})),
        model_(device_->make_int_rnn({.shape = s.shape, .seed = 1}, *learner_)),
        text_(std::max<uint64_t>(s.population / 2, 1) * (s.tokens + 1)),
        fitness_(s.population) {
    const std::vector<int8_t> start = int_rnn_initial_parameters(s.shape, 1);
    learner_->write(0, std::as_bytes(std::span(start)));
    model_->assign({0, s.population / 2});
    for (size_t i = 0; i < text_.size(); ++i)
      text_[i] =
          static_cast<uint8_t>('a' + (noise_element({7, 0, 0, 0}, static_cast<uint32_t>(i)) & 15));
  }

  double evaluate() {
    Stopwatch watch;
    OwnPairs pairs({0, settings_.population / 2});
    model_->evaluate({.generation = generation_,
                      .noise_epoch = static_cast<uint32_t>(generation_),
                      .segments = {.text = text_,
                                   .slice_bytes = settings_.tokens + 1,
                                   .position = 0,
                                   .group_size = 2,
                                   .tokens = settings_.tokens}},
                     pairs);
    fitness_ = pairs.fitness();
    return watch.elapsed_s();
  }

  // The update of the last evaluation: reconstruction and step.
  double update() {
    const ShapedPopulation shaped = shape(fitness_, {.rule = FitnessRule::levels});
    const int64_t threshold = 2 * noise_deviation(shaped.sum_squares, 1);
    StepNumbers numbers;
    numbers.put(Noise::low_rank, SigmaDelta::Numbers{threshold});
    numbers.put(Noise::product, SigmaDelta::Numbers{threshold});
    Stopwatch watch;
    learner_->reconstruct_and_step({static_cast<uint32_t>(generation_++), 0, shaped.d}, numbers);
    learner_->take_changed();
    return watch.elapsed_s();
  }

  // The unperturbed model over as many tokens; with its exact loss, which evaluation does not have.
  double pure() {
    Stopwatch watch;
    model_->score_streams(text_, settings_.population / 2, 0, settings_.population / 2);
    return watch.elapsed_s();
  }

  double tokens() const { return static_cast<double>(settings_.population) * settings_.tokens; }
  double pure_tokens() const { return tokens() / 2; }

 private:
  Settings settings_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<IntRnn> model_;
  std::vector<uint8_t> text_;
  std::vector<double> fitness_;
  uint64_t generation_ = 0;
};

// Operations a second of the register loop on all threads at once.
double ceiling_of(cpu::ThreadTeam& team, double seconds) {
  const cpu::Isa& isa = cpu::choose_isa();
  std::atomic<double> rate{0};
  team.run([&](int) {
    Stopwatch watch;
    double operations = 0;
    while (watch.elapsed_s() < seconds) operations += isa.product_loop(10000);
    rate += operations / watch.elapsed_s();
  });
  return rate;
}

struct Generations {
  Rate pure, evaluation, generation, update_share, ceiling, on_one_thread;
};

// The last figure, which takes a population of its own, only if it is wanted.
Generations run(const Settings& settings, bool beside_one_thread) {
  Bench bench(settings);
  Settings one = settings;
  one.threads = 1;
  std::optional<Bench> single;
  if (beside_one_thread) single.emplace(one);
  cpu::ThreadTeam team(settings.threads);
  std::vector<double> pure, evaluation, generation, share, ceiling, on_one_thread;
  for (int r = -1; r < settings.repetitions; ++r) {
    const double pure_s = bench.pure();
    const double evaluate_s = bench.evaluate();
    const double update_s = bench.update();
    double single_s = 0;
    if (single) {
      single_s = single->evaluate();
      single_s += single->update();
    }
    const double operations_a_second = ceiling_of(team, settings.slice_s);
    if (r < 0) continue;  // warm-up
    const double whole_s = evaluate_s + update_s;
    pure.push_back(bench.pure_tokens() / pure_s);
    evaluation.push_back(bench.tokens() / evaluate_s);
    generation.push_back(bench.tokens() / whole_s);
    share.push_back(update_s / whole_s);
    ceiling.push_back(operations_a_second);
    on_one_thread.push_back(single ? bench.tokens() / single_s : 0);
  }
  return {rate_of(pure),  rate_of(evaluation), rate_of(generation),
          rate_of(share), rate_of(ceiling),    rate_of(on_one_thread)};
}

void describe(const Settings& s, Report& report) {
  report.note(fmt::format("int8 language model, {} layers x {}, population {}, {}", s.shape.layers,
                          s.shape.width, s.population, make_bench_device(s)->description()));
}

}  // namespace

void bench_model(const Settings& settings, Report& report) {
  const double operations = operations_per_token(int_rnn_layout(settings.shape));
  describe(settings, report);
  const bool on_cpu = settings.device.name == "cpu";  // whose ceiling is known
  report.note(
      fmt::format("{} tokens a member and generation; {:.0f} integer operations a token{}",
                  settings.tokens, operations,
                  on_cpu ? fmt::format("; the ceiling is the register loop on {} thread(s) at once",
                                       settings.threads)
                         : ""));
  const bool has_several_threads = settings.threads > 1;
  const Generations g = run(settings, has_several_threads);
  const double ceiling = g.ceiling.median / operations;  // tokens a second
  const double bound = on_cpu ? ceiling : g.pure.median;
  const char* of_bound = on_cpu ? "of ceiling" : "of unperturbed";
  report.row("unperturbed model with its exact loss", "tokens/s", g.pure, 1, of_bound,
             g.pure.median / bound);
  report.row("evaluation of a population, noise included", "tokens/s", g.evaluation, 1,
             "of unperturbed", g.evaluation.median / g.pure.median);
  report.row("complete generation", "tokens/s", g.generation, 1, of_bound,
             g.generation.median / bound);
  if (has_several_threads)
    report.row("complete generation on one thread", "tokens/s", g.on_one_thread, 1,
               fmt::format("times that on {} threads", settings.threads),
               g.generation.median / g.on_one_thread.median);
}

void bench_update(const Settings& settings, Report& report) {
  describe(settings, report);
  report.note(
      "update: noise made again, product over pairs, step; its share of evaluation and update "
      "together");
  for (const uint32_t tokens : {settings.tokens, 10u, 1u}) {
    Settings s = settings;
    s.tokens = tokens;
    const Generations g = run(s, /*beside_one_thread=*/false);
    report.row(fmt::format("update at {} tokens", tokens), "% of a generation", g.update_share, 100,
               "of a generation", g.update_share.median);
  }
}

}  // namespace eggroll::bench
