// `eggroll bench control`: policies that act in an environment, on one thread: how fast rollouts are as
// training has them, where the time of a step goes, and what perturbations cost beside the products.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/stopwatch.hpp"
#include "coordinator/bench/bench.hpp"
#include "coordinator/tiles/own_pairs.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/cpu/perturbed_linear.hpp"
#include "worker/control/any_action.hpp"
#include "worker/control/control_policy.hpp"
#include "worker/control/environment_types.hpp"
#include "worker/control/episodes.hpp"

namespace eggroll::bench {
namespace {

constexpr uint64_t kSeed = 7;
constexpr size_t kRows = kRolloutSlots;
constexpr uint64_t kPairs = 128;  // of a generation
constexpr float kSigma = 0.05f;

// Seconds by what layers do; the noise of a tensor is made by whichever call uses it first.
struct LayerTimes {
  double begin = 0, linear = 0, activation = 0;
};

// Float layers that are timed.
class TimedLayers final : public FloatLayers {
 public:
  TimedLayers(std::unique_ptr<FloatLayers> layers, LayerTimes& times)
      : layers_(std::move(layers)), times_(times) {}

  void begin(uint32_t noise_epoch, float sigma, std::span<const RowNoise> rows) override {
    timed(times_.begin, [&] { layers_->begin(noise_epoch, sigma, rows); });
  }
  void linear(size_t tensor, std::span<const float> x, std::span<float> y) override {
    timed(times_.linear, [&] { layers_->linear(tensor, x, y); });
  }
  void embed(size_t tensor, std::span<const uint32_t> index, std::span<float> y) override {
    layers_->embed(tensor, index, y);
  }
  void add_vector(size_t tensor, std::span<float> y) override {
    timed(times_.activation, [&] { layers_->add_vector(tensor, y); });
  }
  void add_vector_and_tanh(size_t tensor, std::span<float> y) override {
    timed(times_.activation, [&] { layers_->add_vector_and_tanh(tensor, y); });
  }
  void tanh(std::span<float> y) override {
    timed(times_.activation, [&] { layers_->tanh(y); });
  }
  void normalise(size_t cols, std::span<float> y) override {
    timed(times_.activation, [&] { layers_->normalise(cols, y); });
  }
  void materialise(size_t tensor, const RowNoise& row, std::span<float> to) override {
    layers_->materialise(tensor, row, to);
  }

 private:
  template <typename Work>
  static void timed(double& seconds, const Work& work) {
    const Stopwatch watch;
    work();
    seconds += watch.elapsed_s();
  }

  const std::unique_ptr<FloatLayers> layers_;
  LayerTimes& times_;
};

// The policy that a run would have, as it starts.
struct Policy {
  Policy(Device& device, const ControlSettings& settings, Noise noise, int noise_rank)
      : shape(policy_shape(settings, environment_spec(settings))),
        tensors(policy_tensors(settings)),
        learner(device.make_learner({.layout = layout(noise),
                                     .seed = kSeed,
                                     .noise_rank = noise_rank,
                                     .optimizer = "sgd"})),
        layers(device.make_float_layers({kSeed, noise_rank}, *learner)),
        perceptron(shape, tensors.policy) {
    std::vector<std::byte> arena(learner->layout().bytes());
    start_mlp(learner->layout(), shape, tensors.policy, kSeed, arena);
    learner->write(0, arena);
    x.resize(kRows * shape.inputs);
    for (uint32_t i = 0; i < x.size(); ++i) x[i] = noise_element({1, 0, 0, 0}, i) / 16.0f;
    y.resize(kRows * shape.outputs);
  }

  ParameterLayout layout(Noise noise) const {
    ParameterLayout all;
    all.add("observations", Role::vector, Noise::none, Element::int64,
            static_cast<uint32_t>(statistics_words(shape.inputs)), 1);
    add_mlp(all, shape, noise);
    return all;
  }
  double operations_per_step() const {
    double operations = 0;
    for (const TensorSpec& tensor : learner->layout().tensors())
      if (tensor.role == Role::matrix) operations += 2.0 * static_cast<double>(tensor.size());
    return operations;
  }
  void forward() { perceptron.run(*layers, kRows, x, y); }

  const MlpShape shape;
  const Rollout::Tensors tensors;
  const std::unique_ptr<Learner> learner;
  const std::unique_ptr<FloatLayers> layers;
  Mlp perceptron;
  std::vector<float> x, y;
};

// Cases in turn, each so many units of work as it says when it has done them; rates by CPU time.
class Turns {
 public:
  void add(const std::string& name, std::function<double()> work) {
    cases_.emplace_back(name, std::move(work));
  }
  std::map<std::string, Rate> run(int repetitions) {
    std::map<std::string, std::vector<double>> rates;
    for (int repetition = -1; repetition < repetitions; ++repetition)
      for (const auto& [name, work] : cases_) {
        const double before = thread_cpu_s(), done = work();
        if (repetition >= 0) rates[name].push_back(done / (thread_cpu_s() - before));
      }
    std::map<std::string, Rate> result;
    for (auto& [name, each] : rates) result[name] = rate_of(std::move(each));
    return result;
  }

 private:
  std::vector<std::pair<std::string, std::function<double()>>> cases_;
};

// Generations of members that act.
struct Generations {
  Generations(Policy& policy, const ControlSettings& settings, std::unique_ptr<FloatLayers> layers)
      : rollout(settings, policy.shape, policy.tensors, kRows, std::move(layers), *policy.learner) {
  }

  // Steps of the next one.
  double run() {
    rollout.begin(generation, kSigma);
    OwnPairs pairs({0, kPairs});
    MemberEpisodes episodes({.seed = kSeed, .statistics_of = rollout.spec().observations},
                            generation++, pairs);
    rollout.run(episodes);
    steps += static_cast<double>(pairs.tally()[kSteps]);
    return static_cast<double>(pairs.tally()[kSteps]);
  }

  Rollout rollout;
  uint32_t generation = 0;
  double steps = 0;
};

// Steps by chance.
class Walk {
 public:
  explicit Walk(const ControlSettings& settings)
      : environments_(environment_type(settings.env).make(settings.of_env, kRows)),
        commands_(kRows, Command::reset),
        seeds_(kRows),
        lengths_(kRows),
        actions_(kRows * spec().actions()),
        observations_(kRows * spec().observations),
        steps_(kRows) {
    EpisodeRandom random(kSeed);
    for (size_t slot = 0; slot < kRows; ++slot)
      std::ranges::copy(any_action(spec(), random),
                        actions_.begin() + static_cast<ptrdiff_t>(slot * spec().actions()));
  }

  // So many rounds; the steps of them.
  double run(int rounds) {
    double done = 0;
    for (int round = 0; round < rounds; ++round) {
      // Another slot's actions each time.
      std::ranges::rotate(actions_, actions_.begin() + spec().actions());
      environments_->run({commands_, seeds_, actions_, observations_, steps_});
      for (size_t slot = 0; slot < kRows; ++slot) {
        if (commands_[slot] == Command::reset) {
          commands_[slot] = Command::step;
          lengths_[slot] = 0;
          continue;
        }
        ++done;
        if (state_after(steps_[slot], 0, ++lengths_[slot], spec()) == EpisodeState::goes_on)
          continue;
        commands_[slot] = Command::reset;
        ++seeds_[slot];
      }
    }
    return done;
  }

 private:
  const EnvironmentSpec& spec() const { return environments_->spec(); }

  const std::unique_ptr<Environments> environments_;
  std::vector<Command> commands_;
  std::vector<uint64_t> seeds_;
  std::vector<uint32_t> lengths_;
  std::vector<float> actions_, observations_;
  std::vector<Step> steps_;
};

// Members 0, 1, ..., of which the first so many come last.
std::vector<RowNoise> rows_from(size_t first) {
  std::vector<RowNoise> rows;
  for (size_t row = 0; row < kRows; ++row)
    rows.push_back(noise_of_member((row + first) % kRows, Sampling::antithetic));
  return rows;
}

void measure_environment(const std::string& name, const Settings& settings, Report& report) {
  ControlSettings control;
  control.env = name;
  const auto device = make_device("cpu");
  const cpu::FloatIsa<float>& isa = cpu::float_isa_of<float>(cpu::choose_isa());
  Policy rank1(*device, control, Noise::low_rank, 1), rank4(*device, control, Noise::low_rank, 4),
      full(*device, control, Noise::full, 1);
  LayerTimes times;
  Generations plain(rank1, control, device->make_float_layers({kSeed, 1}, *rank1.learner)),
      watched(rank1, control,
              std::make_unique<TimedLayers>(device->make_float_layers({kSeed, 1}, *rank1.learner),
                                            times));
  Walk walk(control);

  Turns turns;
  turns.add("ceiling", [&] { return isa.product_loop(100000); });
  turns.add("rollout", [&] { return plain.run(); });
  std::map<std::string, std::vector<double>> shares;
  turns.add("timed rollout", [&] {
    times = {};
    const Stopwatch watch;
    const double steps = watched.run(), all = watch.elapsed_s();
    shares["products"].push_back(times.linear / all);
    shares["activations"].push_back(times.activation / all);
    shares["begin"].push_back(times.begin / all);
    shares["rest"].push_back(1 - (times.linear + times.activation + times.begin) / all);
    return steps;
  });
  turns.add("environment", [&] { return walk.run(400); });
  constexpr int kPasses = 50;
  // begins: before each pass, not only the first.
  const auto passes = [&](const std::string& what, Policy& policy, float sigma, size_t rotation,
                          bool begins, bool is_renewed) {
    turns.add(what, [=, &policy, epoch = uint32_t{1}]() mutable {
      const std::vector<RowNoise> rows = rows_from(rotation), others = rows_from(rotation + 2);
      for (int pass = 0; pass < kPasses; ++pass) {
        if (is_renewed) ++epoch;
        if (pass == 0 || begins)
          policy.layers->begin(epoch, sigma, begins && pass % 2 == 1 ? others : rows);
        policy.forward();
      }
      return double{kPasses * kRows};
    });
  };
  passes("unperturbed", rank1, 0, 0, false, false);
  passes("r = 1", rank1, kSigma, 0, false, false);
  passes("r = 1, pairs apart", rank1, kSigma, 1, false, false);
  passes("r = 1, other rows", rank1, kSigma, 0, true, false);
  passes("r = 1, new noise", rank1, kSigma, 0, true, true);
  passes("r = 4", rank4, kSigma, 0, false, false);
  passes("full", full, kSigma, 0, false, false);
  const auto rates = turns.run(settings.repetitions);

  const double bound = rates.at("ceiling").median / rank1.operations_per_step();
  const Rate &rollout = rates.at("rollout"), &environment = rates.at("environment");
  report.note(fmt::format(
      "{}: {} x {} tanh, {:.0f} operations of products a step; episodes of {:.0f} steps", name,
      control.layers, control.width, rank1.operations_per_step(),
      plain.steps / static_cast<double>(2 * kPairs * plain.generation)));
  report.row("rollout, perturbed, r = 1", "steps/s", rollout, 1, "of ceiling",
             rollout.median / bound);
  report.row("environment alone, actions by chance", "steps/s", environment, 1,
             "of a rollout's time", rollout.median / environment.median);
  const auto share = [&](const std::string& what, const std::string& row) {
    const std::vector<double>& all = shares.at(what);
    const Rate rate = rate_of({all.begin() + 1, all.end()});  // without the warm-up
    report.row(row, "% of a rollout", rate, 100, "of a rollout", rate.median);
  };
  share("products", "products, projections, noise of matrices");
  share("activations", "biases, their noise, and activations");
  share("begin", "begin");
  share("rest", "environment, and what is around it");
  const auto forward = [&](const std::string& what, const std::string& row,
                           const std::string& against) {
    const double other = against == "ceiling" ? bound : rates.at(against).median;
    report.row("forward, " + row, "rows/s", rates.at(what), 1, "of " + against,
               rates.at(what).median / other);
  };
  forward("unperturbed", "unperturbed", "ceiling");
  forward("r = 1", "r = 1", "unperturbed");
  forward("r = 1, pairs apart", "r = 1, no pair side by side", "r = 1");
  forward("r = 1, other rows", "r = 1, other rows each time", "r = 1");
  forward("r = 1, new noise", "r = 1, new noise each time", "r = 1");
  forward("r = 4", "r = 4", "r = 1");
  forward("full", "full noise", "r = 1");
}

}  // namespace

void bench_control(const Settings& settings, Report& report) {
  report.note(fmt::format("policies on one thread, by its CPU time, {}",
                          make_device("cpu")->description()));
  report.note(fmt::format(
      "rollout: a generation of {} members in {} slots; forward: a policy of {} rows, noise kept",
      2 * kPairs, kRows, kRows));
  report.note("ceiling: the register loop of fp32 products over the operations of a step");
  for (const std::string& name : settings.environments) measure_environment(name, settings, report);
}

}  // namespace eggroll::bench
