#include "worker/quadratic/quadratic_task.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/layout.hpp"
#include "common/noise.hpp"
#include "kernels/float_layers.hpp"
#include "worker/float_settings.hpp"

namespace eggroll {
namespace {

struct QuadraticSettings : FloatSettings {
  uint32_t inputs = 7, outputs = 5, vocabulary = 9;

  void declare(Options& to) {
    to.begin(OptionGroup::model);
    to.number("inputs", inputs, 1, 4096, "numbers that a word stands for");
    to.number("outputs", outputs, 1, 4096, "numbers that are said of a word");
    to.number("vocabulary", vocabulary, 1, 4096, "words");
    FloatSettings::declare(to);
  }
};

enum Tensors : size_t { kInputs, kShift, kMatrix, kBias };  // in the order of the layout

ParameterLayout layout_of(const RunConfig& config) {
  const auto s = read_settings<QuadraticSettings>(config.of_task);
  const Noise noise = s.perturbation == Perturbation::full ? Noise::full : Noise::low_rank;
  ParameterLayout layout;
  layout.add("inputs", Role::embedding, noise, Element::float32, s.vocabulary, s.inputs);
  layout.add("shift", Role::vector, Noise::none, Element::float32, s.inputs, 1);
  layout.add("matrix", Role::matrix, noise, Element::float32, s.outputs, s.inputs);
  layout.add("bias", Role::vector, Noise::full, Element::float32, s.outputs, 1);
  return layout;
}

// Normal numbers, a matrix scaled by its inputs. Model 0 is where a run starts, model 1 the teacher.
std::vector<float> model(const ParameterLayout& layout, uint64_t seed, uint32_t number) {
  std::vector<float> values;
  for (uint32_t t = 0; t < layout.tensors().size(); ++t) {
    const double inputs = layout[t].role == Role::matrix ? layout[t].cols : 1;
    const auto scale = static_cast<float>(1 / (16 * std::sqrt(inputs)));
    for (uint32_t e = 0; e < layout[t].size(); ++e)
      values.push_back(scale * noise_element({seed, kInitialisationEpoch, t, number}, e));
  }
  return values;
}

class QuadraticTask final : public Task {
 public:
  QuadraticTask(const RunConfig& config, Device& device, const Learner& learner)
      : settings_(read_settings<QuadraticSettings>(config.of_task)),
        sampling_(config.sampling),
        generations_(config.generations),
        layers_(device.make_float_layers({config.seed, config.noise_rank}, learner)) {
    const std::vector<float> teacher = model(learner.layout(), config.seed, 1);
    const auto of = [&](Tensors tensor) {
      return teacher.data() + learner.layout()[tensor].at / 4;
    };
    for (uint32_t word = 0; word < settings_.vocabulary; ++word)
      for (uint32_t o = 0; o < settings_.outputs; ++o) {
        double target = of(kBias)[o];
        for (uint32_t i = 0; i < settings_.inputs; ++i)
          target += (double{of(kInputs)[word * settings_.inputs + i]} + of(kShift)[i]) *
                    of(kMatrix)[o * settings_.inputs + i];
        targets_.push_back(static_cast<float>(target));
      }
  }

  double sigma(uint64_t generation) const override {
    return settings_.sigma.at(generation, generations_);
  }

  // On one thread: a member takes a microsecond.
  void evaluate(const GenerationPlan& plan, PairSource& source) override {
    while (const std::optional<PairRange> pairs = source.take(kTilePairs)) {
      if (source.is_over()) return;  // nobody needs it any more
      std::vector<RowNoise> members;
      for (uint64_t member = 2 * pairs->first; member < 2 * pairs->end(); ++member)
        members.push_back(noise_of_member(member, sampling_));
      layers_->begin(plan.noise_epoch, static_cast<float>(plan.sigma), members);
      std::vector<double> fitness(members.size());
      for (uint32_t word = 0; word < settings_.vocabulary; ++word) {
        const std::vector<double> losses = losses_of(word, members.size());
        for (size_t i = 0; i < members.size(); ++i) fitness[i] -= losses[i] / settings_.vocabulary;
      }
      source.finish(*pairs, fitness, Tally{});
    }
  }

  // Each rank looks at some of the words; their losses travel as integers, in 2^-20.
  Tally validate(int rank, int ranks) override {
    layers_->begin(0, 0, std::vector<RowNoise>(1));
    Tally tally;
    for (auto word = static_cast<uint32_t>(rank); word < settings_.vocabulary;
         word += static_cast<uint32_t>(ranks)) {
      const double loss = losses_of(word, 1)[0];
      tally[0] += std::llround(std::ldexp(loss < 0x1p30 ? loss : 0x1p30, 20));  // NaN is most
      tally[1] += 1;
    }
    return tally;
  }

  std::vector<Metric> train_metrics(const Tally&, const FitnessSummary& fitness) const override {
    return {{.name = "fitness_mean", .value = fitness.mean, .label = "fitness"},
            {.name = "fitness_best", .value = fitness.best, .label = "best"}};
  }
  std::vector<Metric> validation_metrics(const Tally& tally) const override {
    if (tally[1] == 0) return {};
    const double error = static_cast<double>(tally[0]) / static_cast<double>(tally[1]);
    return {{.name = "loss", .value = std::ldexp(error, -20), .label = "loss"}};
  }

 private:
  // |W (x + shift) + bias - y|^2 of a word, for each row.
  std::vector<double> losses_of(uint32_t word, size_t rows) {
    std::vector<float> x(rows * settings_.inputs), y(rows * settings_.outputs);
    layers_->embed(kInputs, std::vector<uint32_t>(rows, word), x);
    layers_->add_vector(kShift, x);
    layers_->linear(kMatrix, x, y);
    layers_->add_vector(kBias, y);
    std::vector<double> losses(rows);
    for (size_t i = 0; i < y.size(); ++i) {
      const uint32_t o = i % settings_.outputs;
      const double error = double{y[i]} - targets_[word * settings_.outputs + o];
      losses[i / settings_.outputs] += error * error;
    }
    return losses;
  }

  const QuadraticSettings settings_;
  const Sampling sampling_;
  const uint64_t generations_;  // planned
  std::unique_ptr<FloatLayers> layers_;
  std::vector<float> targets_;  // [vocabulary, outputs]
};

}  // namespace

TaskType quadratic_task_type() {
  return {
      .name = "quadratic",
      .help = "a linear model that learns another one: the smallest task",
      .defaults = {{"population", "256"},
                   {"generations", "300"},
                   {"fitness", "centred-rank"},
                   {"fitness-encoding", "float32"},
                   {"update", "adam"},
                   {"learning-rate", "0.05"}},
      .declare = [](Options& to) -> std::shared_ptr<void> {
        auto settings = std::make_shared<QuadraticSettings>();
        settings->declare(to);
        return settings;
      },
      .check = check_float_run,
      .layout = layout_of,
      .start_values =
          [](const RunConfig& config, const ParameterLayout& layout, std::span<std::byte> arena) {
            const std::vector<float> values = model(layout, config.seed, 0);
            std::memcpy(arena.data(), values.data(), arena.size());
          },
      .check_data = [](const RunConfig&) { return std::vector<std::string>(); },
      .make = [](const RunConfig& config, Device& device,
                 const Learner& learner) -> std::unique_ptr<Task> {
        return std::make_unique<QuadraticTask>(config, device, learner);
      },
      .carry = [](const RunConfig&) { return Carry::reset; },
      .runs_on_cuda = false,
      .memory = [](const RunConfig& config, uint64_t, int) -> TaskMemory {
        const ParameterLayout layout = layout_of(config);
        double noise = 0;  // of the pairs of a tile
        for (const TensorSpec& tensor : layout.tensors())
          noise += static_cast<double>(kTilePairs * config.perturbations_per_pair() *
                                       noise_elements(tensor, config.noise_rank));
        return {.weights = static_cast<double>(layout.bytes()), .workspaces = noise};
      },
      .verbs = {}};
}

}  // namespace eggroll
