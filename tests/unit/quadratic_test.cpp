// Task quadratic: its fitness, and that it learns what its teacher says.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config.hpp"
#include "coordinator/shaping.hpp"
#include "kernels/cpu/isa.hpp"
#include "kernels/float_layers.hpp"
#include "kernels/optimizers.hpp"
#include "worker/tasks.hpp"

namespace eggroll {
namespace {

// Ranges of pairs, and the fitness that they got.
class Ranges final : public PairSource {
 public:
  Ranges(std::vector<PairRange> ranges, uint64_t pairs)
      : fitness(2 * pairs), left_(std::move(ranges)) {}

  uint64_t known() const override { return 0; }
  std::optional<PairRange> take(uint64_t at_most) override {
    if (left_.empty()) return std::nullopt;
    const PairRange taken = left_.back();
    EXPECT_LE(taken.count, at_most);
    left_.pop_back();
    return taken;
  }
  void finish(PairRange pairs, std::span<const double> of_members, const Tally&,
              std::span<const int64_t>) override {
    EXPECT_EQ(of_members.size(), 2 * pairs.count);
    std::ranges::copy(of_members, fitness.begin() + static_cast<ptrdiff_t>(2 * pairs.first));
  }
  bool is_over() const override { return false; }
  void close() override {}

  std::vector<double> fitness;

 private:
  std::vector<PairRange> left_;
};

std::vector<PairRange> tiles_of_all(uint64_t pairs) {
  std::vector<PairRange> tiles;
  for (uint64_t tile = 0; tile < tiles_of(pairs); ++tile)
    tiles.push_back(pairs_of_tile(pairs, tile));
  return tiles;
}

// A run of this task with options beside its defaults, in one process.
struct Training {
  explicit Training(const OptionTexts& of_task = {}, Sampling sampling = Sampling::antithetic)
      : config(default_config(option_catalogue(), "quadratic")) {
    for (const auto& [name, text] : of_task) config.of_task[name] = text;
    config.sampling = sampling;
    learner = device->make_learner({.layout = type.layout(config),
                                    .seed = config.seed,
                                    .noise_rank = config.noise_rank,
                                    .optimizer = config.update});
    std::vector<std::byte> start(learner->layout().bytes());
    type.start_values(config, learner->layout(), start);
    learner->write(0, start);
    task = type.make(config, *device, *learner);
  }

  GenerationPlan plan(uint64_t generation) const {
    GenerationPlan plan;
    plan.generation = generation;
    plan.sigma = task->sigma(generation);
    plan.noise_epoch = static_cast<uint32_t>(generation);
    return plan;
  }
  std::vector<double> evaluate(uint64_t generation, const std::vector<PairRange>& ranges) {
    Ranges source(ranges, config.pairs());
    task->evaluate(plan(generation), source);
    return source.fitness;
  }
  double loss() const { return task->validation_metrics(task->validate(0, 1)).at(0).value; }
  void learn() {
    for (uint64_t generation = 0; generation < config.generations; ++generation) {
      const ShapedPopulation shaped = shape(evaluate(generation, tiles_of_all(config.pairs())),
                                            {.rule = config.fitness, .sampling = config.sampling});
      learner->reconstruct_and_step(
          {.noise_epoch = static_cast<uint32_t>(generation), .first_pair = 0, .d = shaped.d},
          optimizer_type(config.update)
              .numbers(config.of_update, {.generation = generation,
                                          .generations = config.generations,
                                          .population = config.population,
                                          .sum_squares = shaped.sum_squares,
                                          .unit = shaped.unit,
                                          .noise_rank = config.noise_rank}));
    }
  }

  const TaskType& type = task_type("quadratic");
  RunConfig config;
  std::unique_ptr<Device> device = make_device("cpu");
  std::unique_ptr<Learner> learner;
  std::unique_ptr<Task> task;
};

TEST(QuadraticTask, LearnsWhatItsTeacherSays) {
  for (const char* perturbation : {"low-rank", "full"})
    for (const Sampling sampling : {Sampling::antithetic, Sampling::independent}) {
      Training run({{"perturbation", perturbation}}, sampling);
      const double before = run.loss();
      run.learn();
      std::cout << perturbation << ": loss from " << before << " to " << run.loss() << std::endl;
      EXPECT_GT(before, 4);
      EXPECT_LT(run.loss(), sampling == Sampling::antithetic ? 0.02 : 0.3);
    }
}

TEST(QuadraticTask, LearnsTheSameOnEveryInstructionSet) {
  std::optional<std::vector<std::byte>> first;
  for (const cpu::Isa* isa : cpu::isas_of_this_machine()) {
    setenv("EGGROLL_ISA", isa->name, 1);
    Training run({{"inputs", "67"}, {"outputs", "65"}});
    unsetenv("EGGROLL_ISA");
    run.config.generations = 20;
    run.learn();
    std::vector<std::byte> parameters(run.learner->layout().bytes());
    run.learner->read(0, parameters);
    if (!first) first = parameters;
    EXPECT_TRUE(parameters == *first) << isa->name;
  }
}

TEST(QuadraticTask, FrozenTensorStaysWhatItIs) {
  Training run;
  std::vector<float> before(run.learner->layout().size()), after(before.size());
  run.learner->read(0, std::as_writable_bytes(std::span(before)));
  run.config.generations = 3;
  run.learn();
  run.learner->read(0, std::as_writable_bytes(std::span(after)));
  for (const TensorSpec& tensor : run.learner->layout().tensors())
    for (size_t e = tensor.at / 4; e < tensor.at / 4 + tensor.size(); ++e)
      EXPECT_EQ(before[e] == after[e], !tensor.is_trained()) << tensor.name;
}

// Members are the unperturbed model with other weights, so those are formed and looked at as such.
TEST(QuadraticTask, FitnessOfAMemberIsTheLossOfItsWeights) {
  for (const Sampling sampling : {Sampling::antithetic, Sampling::independent}) {
    Training run({{"perturbation", "low-rank"}}, sampling);
    const std::vector<double> fitness = run.evaluate(4, tiles_of_all(run.config.pairs()));
    const auto layers =
        run.device->make_float_layers({run.config.seed, run.config.noise_rank}, *run.learner);
    std::vector<std::byte> start(run.learner->layout().bytes());
    run.learner->read(0, start);
    for (const uint64_t member : {0, 1, 2, 77}) {
      layers->begin(run.plan(4).noise_epoch, static_cast<float>(run.plan(4).sigma), {});
      std::vector<float> weights(run.learner->layout().size());
      for (size_t t = 0; t < run.learner->layout().tensors().size(); ++t) {
        const TensorSpec& tensor = run.learner->layout()[t];
        layers->materialise(t, noise_of_member(member, sampling),
                            std::span(weights).subspan(tensor.at / 4, tensor.size()));
      }
      run.learner->write(0, std::as_bytes(std::span(weights)));
      EXPECT_NEAR(-run.loss(), fitness[member], 1e-5 * std::abs(fitness[member])) << member;
      run.learner->write(0, start);
    }
  }
}

TEST(QuadraticTask, FitnessDoesNotDependOnWhoRunsWhichPairs) {
  Training run;
  const std::vector<double> in_tiles = run.evaluate(2, tiles_of_all(run.config.pairs()));
  std::vector<PairRange> one_by_one;
  for (uint64_t pair = 0; pair < run.config.pairs(); ++pair) one_by_one.push_back({pair, 1});
  EXPECT_EQ(run.evaluate(2, one_by_one), in_tiles);
  EXPECT_NE(run.evaluate(3, one_by_one), in_tiles);
}

TEST(QuadraticTask, ValidationsOfRanksAddUp) {
  Training run;
  const Tally whole = run.task->validate(0, 1);
  for (const int ranks : {2, 3, 20}) {
    Tally sum;
    for (int rank = 0; rank < ranks; ++rank) sum += run.task->validate(rank, ranks);
    EXPECT_EQ(sum, whole) << ranks;
  }
  EXPECT_TRUE(run.task->validation_metrics(Tally{}).empty());
}

}  // namespace
}  // namespace eggroll
