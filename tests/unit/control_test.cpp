// Task control: what a member is worth does not depend on who stood beside it, the policy is the
// perceptron of the member's formed weights, and what has no value is told apart.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <span>

#include "tests/support/small_run.hpp"
#include "tests/support/solo_collectives.hpp"
#include "worker/control/control_policy.hpp"
#include "worker/control/episodes.hpp"
#include "worker/control/observation_statistics.hpp"
#include "worker/models/mlp.hpp"

namespace eggroll {
namespace {

using test::ConfigValues;
using test::SmallRun;
using test::SoloCollectives;

ConfigValues values(const ConfigValues& more = {}) {
  ConfigValues all = {{"task", "control"}, {"population", "90"}, {"layers", "2"},  {"width", "24"},
                      {"episodes", "2"},   {"sigma", "0.2"},     {"run", "unused"}};
  for (const auto& [name, value] : more) all[name] = value;
  return all;
}

// Hands out the pairs in given portions.
class Portions final : public PairSource {
 public:
  Portions(uint64_t pairs, uint64_t portion, uint64_t known)
      : fitness(2 * pairs), pairs_(pairs), portion_(portion), known_(known) {}
  uint64_t known() const override { return known_; }
  std::optional<PairRange> take(uint64_t at_most) override {
    const PairRange taken{next_, std::min({pairs_ - next_, at_most, portion_})};
    next_ = taken.end();
    return taken.count == 0 ? std::nullopt : std::optional(taken);
  }
  void finish(PairRange pairs, std::span<const double> of_members, const Tally& tally,
              std::span<const int64_t> words) override {
    std::ranges::copy(of_members, fitness.begin() + static_cast<ptrdiff_t>(2 * pairs.first));
    all += tally;
    add_sums(sums, words);
    ++finished;
  }
  bool is_over() const override { return over; }
  void close() override { next_ = pairs_; }

  std::vector<double> fitness;
  Tally all;
  std::vector<int64_t> sums;
  int finished = 0;
  bool over = false;

 private:
  const uint64_t pairs_, portion_, known_;
  uint64_t next_ = 0;
};

TEST(ControlTask, AMemberIsWorthTheSameWhoeverStandsBesideIt) {
  SoloCollectives solo;
  for (const char* episode_seeds : {"population", "pair", "member"}) {
    SmallRun run(test::config_of(values({{"episode-seeds", episode_seeds}})), solo);
    run.steps(2);
    Portions whole(45, 16, 45), tiles(45, 16, 0), apart(3, 3, 3);
    run.task().evaluate(run.plan(), whole);
    run.task().evaluate(run.plan(), tiles);
    run.task().evaluate(run.plan(), apart);
    EXPECT_EQ(whole.fitness, tiles.fitness);
    EXPECT_EQ(whole.sums, tiles.sums);
    EXPECT_EQ(whole.all, tiles.all);
    EXPECT_EQ(whole.finished, 3);
    EXPECT_EQ(whole.all[kEpisodes], 180);
    EXPECT_EQ(whole.all[kFailed], 0);
    EXPECT_EQ(whole.sums[0], whole.all[kSteps]) << "an observation for each action";
    EXPECT_TRUE(std::ranges::equal(apart.fitness, std::span(whole.fitness).first(6)));
    EXPECT_NE(whole.fitness[0], whole.fitness[2]);
    // A cart-pole's reward is 1 a step.
    double total = 0;
    for (const double each : whole.fitness) total += 2 * each;
    EXPECT_EQ(total, static_cast<double>(whole.all[kSteps]));
  }
}

// Tiles that come one by one: a thread fills its rows with what is ready, and waits with none in hand
// alone, since others may be waiting for its own.
TEST(ControlTask, WaitsForTilesWithNoneInHand) {
  struct OneByOne final : PairSource {
    explicit OneByOne(PairSource& s) : source(s) {}
    uint64_t known() const override { return 0; }
    std::optional<PairRange> take(uint64_t at_most) override {
      EXPECT_EQ(in_hand, 0);
      return counted(source.take(at_most));
    }
    std::optional<PairRange> take_ready(uint64_t at_most) override {
      return ++asked % 3 == 0 ? counted(source.take(at_most)) : std::nullopt;
    }
    std::optional<PairRange> counted(std::optional<PairRange> taken) {
      in_hand += taken.has_value();
      most = std::max(most, in_hand);
      return taken;
    }
    void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
                std::span<const int64_t> sums) override {
      --in_hand;
      source.finish(pairs, fitness, tally, sums);
    }
    bool is_over() const override { return false; }
    void close() override {}
    PairSource& source;
    int in_hand = 0, most = 0, asked = 0;
  };
  SoloCollectives solo;
  SmallRun run(test::config_of(values({{"population", "400"}, {"episodes", "1"}})), solo);
  Portions whole(200, 200, 200), tiles(200, 16, 0);
  OneByOne source(tiles);
  run.task().evaluate(run.plan(), whole);
  run.task().evaluate(run.plan(), source);
  EXPECT_EQ(tiles.fitness, whole.fitness);
  EXPECT_EQ(tiles.sums, whole.sums);
  EXPECT_GE(source.most, 2) << "more than a tile at a time";
  EXPECT_EQ(source.in_hand, 0);
}

TEST(ControlTask, GivesUpWhereNobodyWantsTheResults) {
  SoloCollectives solo;
  SmallRun run(test::config_of(values()), solo);
  Portions left(45, 16, 0);
  left.over = true;
  run.task().evaluate(run.plan(), left);
  EXPECT_EQ(left.finished, 0);
}

TEST(ControlTask, SeedsAreAddresses) {
  std::map<uint64_t, int> seen;
  for (uint64_t generation : {0u, 1u, 7u})
    for (const SeedKind kind : {SeedKind::episode, SeedKind::actions, SeedKind::validation})
      for (uint64_t who = 0; who < 20; ++who)
        for (uint32_t number = 0; number < 5; ++number)
          ++seen[episode_seed(3, generation, kind, who, number)];
  EXPECT_EQ(seen.size(), 900u);
  EXPECT_EQ(episode_seed(3, 1, SeedKind::episode, 4, 2),
            episode_seed(3, 1, SeedKind::episode, 4, 2));
  EXPECT_NE(episode_seed(3, 1, SeedKind::episode, 4, 2),
            episode_seed(4, 1, SeedKind::episode, 4, 2));
}

// The starts that members of a generation meet.
TEST(ControlTask, WhoMeetsTheSameEpisodesIsAnOption) {
  const auto starts = [](EpisodeSeeds seeds) {
    Portions pairs(16, 16, 16);
    MemberEpisodes episodes({.seed = 5, .episodes = 2, .seeds = seeds}, 3, pairs);
    std::vector<uint64_t> found;
    while (const auto episode = episodes.next(true)) found.push_back(episode->seed);
    std::ranges::sort(found);
    return found.end() == found.begin() ? 0 : std::ranges::unique(found).begin() - found.begin();
  };
  EXPECT_EQ(starts(EpisodeSeeds::population), 2);
  EXPECT_EQ(starts(EpisodeSeeds::pair), 32);
  EXPECT_EQ(starts(EpisodeSeeds::member), 64);
}

// The policy over rows that share nothing, against each member's own weights in double precision.
TEST(ControlTask, ThePolicyIsThePerceptronOfTheFormedWeights) {
  for (const Activation activation : {Activation::tanh, Activation::relu, Activation::pqn})
    for (const Noise noise : {Noise::low_rank, Noise::full}) {
      const MlpShape shape{
          .inputs = 5, .outputs = 3, .layers = 2, .width = 70, .activation = activation};
      ParameterLayout layout;
      layout.add("before", Role::vector, Noise::none, Element::int64, 3, 1);
      add_mlp(layout, shape, noise);
      const auto device = make_device("cpu");
      const auto learner =
          device->make_learner({.layout = layout, .seed = 9, .noise_rank = 2, .optimizer = "adam"});
      std::vector<std::byte> arena(layout.bytes());
      start_mlp(layout, shape, 1, 9, arena);
      learner->write(0, arena);
      const auto layers = device->make_float_layers({9, 2}, *learner);
      const std::vector<RowNoise> rows = {{3, 1}, {7, -1}, {3, -1}, {0, 0}};
      std::vector<float> x(rows.size() * shape.inputs), y(rows.size() * shape.outputs);
      for (size_t i = 0; i < x.size(); ++i) x[i] = 0.3f * static_cast<float>(i % 7) - 0.8f;
      layers->begin(4, 0.05f, rows);
      Mlp(shape, 1).run(*layers, rows.size(), x, y);
      for (size_t row = 0; row < rows.size(); ++row) {
        std::vector<double> values(x.begin() + static_cast<ptrdiff_t>(row * shape.inputs),
                                   x.begin() + static_cast<ptrdiff_t>((row + 1) * shape.inputs));
        for (uint32_t layer = 0; layer <= shape.layers; ++layer) {
          const size_t tensor = 1 + 2 * layer;
          std::vector<float> w(layout[tensor].size()), bias(layout[tensor + 1].size());
          layers->materialise(tensor, rows[row], w);
          layers->materialise(tensor + 1, rows[row], bias);
          std::vector<double> next(bias.begin(), bias.end());
          for (size_t o = 0; o < next.size(); ++o)
            for (size_t i = 0; i < values.size(); ++i)
              next[o] += w[o * values.size() + i] * values[i];
          if (layer < shape.layers) {
            double mean = 0, variance = 0;
            for (const double v : next) mean += v / static_cast<double>(next.size());
            for (const double v : next)
              variance += (v - mean) * (v - mean) / static_cast<double>(next.size());
            for (double& v : next) {
              if (activation == Activation::pqn) v = (v - mean) / std::sqrt(variance + 1e-6);
              v = activation == Activation::tanh ? std::tanh(v) : std::max(v, 0.0);
            }
          }
          values = next;
        }
        for (size_t o = 0; o < shape.outputs; ++o)
          EXPECT_NEAR(y[row * shape.outputs + o], values[o], 2e-5) << row << " " << o;
      }
    }
}

// What a policy of biases alone does in so many episodes.
struct Acted {
  std::vector<float> actions;
  std::vector<EpisodeState> ends;
  std::vector<uint32_t> lengths;
};

// more: options. biases: of the output; statistics: of the first number of an observation.
Acted acted(const ConfigValues& more, const std::vector<float>& biases, uint32_t episodes = 20,
            const std::vector<int64_t>& statistics = {}, const std::vector<float>& weights = {}) {
  ConfigValues all = values({{"layers", "0"}});
  all.erase("width");
  for (const auto& [name, value] : more) all[name] = value;
  SoloCollectives solo;
  SmallRun run(test::config_of(all), solo);
  const ParameterLayout& layout = run.learner().layout();
  std::vector<std::byte> arena(layout.bytes());
  const auto put = [&](size_t tensor, const auto& numbers) {
    std::ranges::copy(std::as_bytes(std::span(numbers)), arena.data() + layout[tensor].at);
  };
  put(0, statistics);
  put(1, weights);
  put(2, biases);
  run.learner().write(0, arena);
  const auto rollout = make_rollout(run.config(), run.device(), run.learner(), 7);
  Acted found;
  rollout->watch([&](const StepSeen& seen) {
    if (!seen.action.empty()) found.actions.push_back(seen.action[0]);
  });
  UnperturbedEpisodes source(3, 0, 1, episodes);
  rollout->begin(0, 0);
  rollout->run(source);
  for (const auto& [number, result] : source.finished()) {
    found.ends.push_back(result.end);
    found.lengths.push_back(result.steps);
  }
  return found;
}

double share_of(const std::vector<float>& values, float value) {
  return static_cast<double>(std::ranges::count(values, value)) /
         static_cast<double>(values.size());
}

TEST(ControlTask, AChoiceIsTheLargestOutputOrDrawnBySoftmax) {
  EXPECT_EQ(share_of(acted({}, {0.2f, 0.1f}).actions, 0), 1);
  EXPECT_EQ(share_of(acted({}, {0.1f, 0.2f}).actions, 1), 1);
  EXPECT_EQ(share_of(acted({}, {0.1f, 0.1f}).actions, 0), 1) << "of equal ones the first";
  const Acted drawn = acted({{"env", "MountainCar-v0"}, {"actions", "sampled"}},
                            {std::log(5.0f), std::log(3.0f), 0});
  EXPECT_EQ(drawn.actions.size(), 20u * 200);  // of standard deviation 0.008
  EXPECT_NEAR(share_of(drawn.actions, 0), 5 / 9.0, 0.04);
  EXPECT_NEAR(share_of(drawn.actions, 1), 3 / 9.0, 0.04);
  EXPECT_NEAR(share_of(drawn.actions, 2), 1 / 9.0, 0.03);
}

TEST(ControlTask, ANumberIsATangentWithinItsBoundsAndMayHaveNoise) {
  const auto moments = [](const std::vector<float>& values) {
    double mean = 0, square = 0;
    for (const float value : values) {
      mean += value / static_cast<double>(values.size());
      square += value * value / static_cast<double>(values.size());
    }
    return std::pair(mean, std::sqrt(std::max(0.0, square - mean * mean)));
  };
  const auto plain = moments(acted({{"env", "Pendulum-v1"}}, {0.3f}).actions);
  EXPECT_NEAR(plain.first, 2 * std::tanh(0.3), 1e-6);  // torques are from -2 to 2
  EXPECT_LT(plain.second, 1e-3);
  const auto noisy = moments(
      acted({{"env", "Pendulum-v1"}, {"actions", "sampled"}, {"action-noise", "0.2"}}, {0.3f})
          .actions);
  EXPECT_NEAR(noisy.first, 2 * std::tanh(0.3), 0.03);
  EXPECT_NEAR(noisy.second, 2 * 0.2, 0.02);
  for (const float action :
       acted({{"env", "Pendulum-v1"}, {"actions", "sampled"}, {"action-noise", "5"}}, {0}).actions)
    EXPECT_LE(std::abs(action), 2);
}

TEST(ControlTask, AnEpisodeEndsAtTheLimitOrByWhatHappens) {
  const Acted stays = acted({{"env", "MountainCar-v0"}}, {0, 1, 0});
  EXPECT_EQ(stays.lengths, std::vector<uint32_t>(20, 200));
  EXPECT_EQ(stays.ends, std::vector(20, EpisodeState::truncated));
  const Acted falls = acted({}, {1, 0});
  EXPECT_EQ(falls.ends, std::vector(20, EpisodeState::terminated));
  EXPECT_LT(std::ranges::max(falls.lengths), 20u);
  const Acted fails = acted({}, {std::nanf(""), 0});
  EXPECT_EQ(fails.ends, std::vector(20, EpisodeState::failed));
  EXPECT_TRUE(fails.actions.empty());
}

// The choice is the sign of the first number, a position near 0, less its mean: 0.04, by what was seen.
TEST(ControlTask, ObservationsAreSeenBesideWhatWasMet) {
  ObservationSums sums(4);
  for (const float position : {0.0f, 0.08f}) sums.add(std::vector<float>{position, 1, 1, 1});
  std::vector<int64_t> words(statistics_words(4));
  sums.add_to(words);
  const std::vector<float> weights = {0, 0, 0, 0, 1, 0, 0, 0};
  const Acted before = acted({}, {0, 0}, 20, {}, weights),
              after = acted({}, {0, 0}, 20, words, weights);
  EXPECT_GT(share_of(before.actions, 1), 0.3);
  EXPECT_LT(share_of(after.actions, 1), share_of(before.actions, 1) / 2);
}

TEST(ControlTask, APolicyWithoutNumbersIsWorthNothingAndIsCounted) {
  SoloCollectives solo;
  SmallRun run(test::config_of(values()), solo);
  std::vector<std::byte> arena(run.learner().layout().bytes());
  run.learner().read(0, arena);
  const float nan = std::nanf("");
  std::memcpy(arena.data() + run.learner().layout()[1].at, &nan, sizeof nan);
  run.learner().write(0, arena);
  Portions pairs(20, 16, 20);
  run.task().evaluate(run.plan(), pairs);
  EXPECT_TRUE(std::ranges::all_of(pairs.fitness, [](double f) { return std::isnan(f); }));
  EXPECT_EQ(pairs.all[kFailed], 80);
  EXPECT_EQ(pairs.all[kSteps], 0);
  const FitnessSummary none{.not_finite = 90};
  for (const Metric& metric : run.task().train_metrics(pairs.all, none))
    EXPECT_FALSE(metric.name.starts_with("fitness")) << "of no member there is one";
  const auto metrics = run.task().validation_metrics(run.task().validate(0, 1));
  ASSERT_EQ(metrics.size(), 1u) << "of no episode there is a return";
  EXPECT_EQ(metrics[0].name, "return_episodes_failed");
  EXPECT_EQ(metrics[0].value, 32);
}

TEST(ControlTask, SharesOfAValidationAddUp) {
  SoloCollectives solo;
  SmallRun run(test::config_of(values()), solo, 2);
  run.steps(1);
  const Tally whole = run.task().validate(0, 1);
  Tally sum;
  for (int rank = 0; rank < 5; ++rank) sum += run.task().validate(rank, 5);
  EXPECT_EQ(sum, whole);
  EXPECT_EQ(whole[2], 32);
  const auto metrics = run.task().validation_metrics(whole);
  EXPECT_EQ(metrics[0].name, "return");
  EXPECT_EQ(metrics[0].value * 32, std::round(metrics[0].value * 32));
  EXPECT_EQ(metrics[3].value, metrics[0].value) << "a reward of 1 a step";
  EXPECT_TRUE(run.task().validation_metrics(Tally{}).empty());
}

// What observations add to the parameters is what members have met, once.
TEST(ControlTask, StatisticsGoOnFromGenerationToGeneration) {
  SoloCollectives solo;
  SmallRun run(test::config_of(values()), solo);
  std::vector<std::byte> arena(run.learner().layout().bytes());
  int64_t steps = 0;
  for (int g = 0; g < 3; ++g) {
    steps += run.step().tally[kSteps];
    run.learner().read(0, arena);
    int64_t count = 0;
    std::memcpy(&count, arena.data() + run.learner().layout()[0].at, sizeof count);
    EXPECT_EQ(count, steps);
  }
}

// A policy that balances a pole, from nothing.
TEST(ControlTask, LearnsToBalanceAPole) {
  SoloCollectives solo;
  SmallRun run(
      test::config_of(values(
          {{"population", "128"}, {"layers", "1"}, {"episodes", "1"}, {"learning-rate", "0.05"}})),
      solo);
  const auto mean_return = [&] {
    return run.task().validation_metrics(run.task().validate(0, 1))[0].value;
  };
  EXPECT_LT(mean_return(), 60);
  run.steps(20);
  EXPECT_GT(mean_return(), 450);
}

}  // namespace
}  // namespace eggroll
