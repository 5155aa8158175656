#include "tests/gpu_check/checks.hpp"

#include <algorithm>
#include <cstdio>
#include <span>

#include "kernels/optimizers.hpp"
#include "tests/gpu_check/twins.hpp"

namespace eggroll::gpu_check {
namespace {

using oracle::numbers_of;
using oracle::Random;
using oracle::Thresholds;

const char* name_of(Carry carry) {
  constexpr const char* kNames[] = {"own", "pair", "reset"};
  return kNames[static_cast<int>(carry)];
}

std::vector<int16_t> differences(std::span<const int32_t> score, Random& random) {
  std::vector<int16_t> d;
  for (size_t j = 0; j < score.size() / 2; ++j) {
    const int sign = (score[2 * j] > score[2 * j + 1]) - (score[2 * j] < score[2 * j + 1]);
    d.push_back(static_cast<int16_t>(sign * static_cast<int>(random() % 3)));
  }
  return d;
}

void check_model(Twins& twins, const IntRnnShape& shape, Random& random, Checks& checks) {
  const uint64_t streams = 1 + random() % 70, length = 2 + random() % 9;
  const std::vector<uint8_t> text = oracle::random_text(streams * length + random() % 2, random);
  const uint64_t first = random() % streams;
  const StreamScores a = twins.cpu.model->score_streams(text, streams, first, streams - first);
  const StreamScores b = twins.cuda.model->score_streams(text, streams, first, streams - first);
  checks.expect(a.score_sum == b.score_sum && a.loss_2e24 == b.loss_2e24 && a.tokens == b.tokens,
                "scores of streams");
  std::vector<int8_t> state = oracle::random_states(size_t{shape.layers} * shape.width, random);
  std::vector<int8_t> other = state;
  for (int k = 0; k < 3; ++k) {
    const auto token = static_cast<uint8_t>(random());
    std::vector<int8_t> x = poisoned<int8_t>(256), y = poisoned<int8_t>(256);
    twins.cpu.model->next_logits(token, state, x);
    twins.cuda.model->next_logits(token, other, y);
    checks.expect(x == y, "logits of the next byte");
    checks.expect(state == other, "the state behind them");
  }
}

// One pair by the oracle, so that a fault of both twins would show.
void check_first_pair(const IntRnnSettings& settings, std::span<const int8_t> parameters,
                      const Evaluation& evaluation, PairRange pairs, std::span<const int8_t> states,
                      std::span<const int32_t> score, Checks& checks) {
  const size_t slot = size_t{settings.shape.layers} * settings.shape.width;
  std::vector<oracle::Vector> slots;
  for (uint64_t s = 0; s < state_slots_per_pair(settings.carry); ++s)
    slots.push_back(oracle::widened(states.subspan(s * slot, slot)));
  const oracle::PairScores expected =
      oracle::evaluate_pair(settings, parameters, evaluation, pairs.first, slots);
  checks.expect(score[0] == expected.plus && score[1] == expected.minus,
                "the first pair's scores by the oracle");
}

void check_run(const IntRnnSettings& settings, const std::string& optimizer, int threads,
               PairRange pairs, int generations, bool with_oracle, Random& random, Checks& checks) {
  checks.about(described(settings, pairs) + " " + optimizer);
  Twins twins(settings, optimizer, threads);
  const auto start = static_cast<oracle::Start>(random() % 4);
  const std::vector<int8_t> parameters = oracle::start_parameters(settings.shape, start, random);
  twins.both([&](Engines& twin) {
    twin.learner->write(0, std::as_bytes(std::span(parameters)));
    twin.model->assign(pairs);
  });
  std::vector<int8_t> states =
      oracle::random_states(pairs.count * twins.cpu.model->slots_per_pair() *
                                size_t{settings.shape.layers} * settings.shape.width,
                            random);
  if (random() % 2 == 0) {
    twins.both([&](Engines& twin) { twin.model->write(0, std::as_bytes(std::span(states))); });
  } else {
    std::ranges::fill(states, int8_t{0});
  }
  const uint32_t group = random() % 2 == 0 ? 2 : 8;
  const uint64_t slice = 4 + random() % 8;
  const std::vector<uint8_t> text =
      oracle::random_text((pairs.end() * 2 / group + 1) * slice, random);
  uint64_t position = slice - 1;
  bool wide = random() % 2 == 0;
  for (int g = 0; g < generations; ++g, wide = !wide) {
    const Evaluation evaluation = {
        .generation = static_cast<uint64_t>(g),
        .noise_epoch = static_cast<uint32_t>(random()),
        .segments = {text, slice, position, group, static_cast<uint32_t>(1 + random() % 4)}};
    position = (position + evaluation.segments.tokens) % slice;
    const std::vector<int32_t> score = twins.cpu.scores(evaluation, pairs);
    checks.expect(twins.cuda.scores(evaluation, pairs) == score,
                  "scores of generation " + std::to_string(g));
    if (g == 0 && with_oracle)
      check_first_pair(settings, parameters, evaluation, pairs, states, score, checks);
    checks.expect(twins.cuda.states(pairs.count) == twins.cpu.states(pairs.count),
                  "states after generation " + std::to_string(g));
    const Thresholds thresholds = {.low_rank = static_cast<int64_t>(1 + random() % 40000),
                                   .product = static_cast<int64_t>(1 + random() % 20000)};
    check_update(twins, {evaluation.noise_epoch, pairs.first, differences(score, random)}, wide,
                 random() % 2 == 0, numbers_of(thresholds), checks);
    check_arenas(twins, g, checks);
  }
  check_model(twins, settings.shape, random, checks);
}

// Cases take turns: twelve of them have each rule with each noise rank.
const char* rule_of(int turn) { return turn / 2 % 2 == 0 ? "threshold" : "sigma-delta"; }

}  // namespace

std::string described(const IntRnnSettings& s, PairRange pairs) {
  return "layers " + std::to_string(s.shape.layers) + " width " + std::to_string(s.shape.width) +
         " r " + std::to_string(s.noise_rank) +
         (s.rounding == Rounding::nearest ? " nearest" : " floor") + " carry " + name_of(s.carry) +
         " sigma-shift " + std::to_string(s.sigma_shift) + " pairs " + std::to_string(pairs.first) +
         "+" + std::to_string(pairs.count) + " seed " + std::to_string(s.seed);
}

IntRnnSettings random_settings(Random& random, uint32_t width, int turn) {
  IntRnnSettings settings;
  settings.shape = {static_cast<uint32_t>(1 + random() % 2), width};
  settings.seed = random();
  const int ranks[] = {1, 4, 16};
  settings.noise_rank = ranks[turn % 3];
  settings.sigma_shift = static_cast<int>(3 + random() % 3);
  settings.rounding = turn % 2 == 0 ? Rounding::nearest : Rounding::floor;
  settings.carry = static_cast<Carry>((turn + turn / 3) % 3);
  return settings;
}

void Checks::expect(bool holds, const std::string& what) {
  ++done_;
  if (holds) return;
  ++failed_;
  std::printf("FAILED: %s (%s)\n", what.c_str(), about_.c_str());
}

void check_runs(const Options& options, Checks& checks) {
  Random random(options.seed);
  const int cases = options.quick ? 6 : 60;
  for (int c = 0; c < cases; ++c) {
    const uint32_t width = options.quick || c % 3 == 0 ? 64 : 256;
    const IntRnnSettings settings = random_settings(random, width, c);
    const PairRange pairs = {random() % 50, 1 + random() % (options.quick ? 30 : 400)};
    check_run(settings, rule_of(c), options.quick ? 1 : 8, pairs, options.quick ? 2 : 3, true,
              random, checks);
  }
  if (options.quick) return;
  // Activations that do not fit into shared memory, and wide sums of the perturbation.
  for (const auto& [width, noise_rank] : {std::pair{1024u, 1}, {1024u, 16}, {4096u, 4}}) {
    const int turn = static_cast<int>(random() % 12);
    IntRnnSettings settings = random_settings(random, width, turn);
    settings.shape.layers = 1;
    settings.noise_rank = noise_rank;
    check_run(settings, rule_of(turn), 16, {3, 40}, 1, false, random, checks);
  }
}

void check_large_blocks(const Options& options, Checks& checks) {
  Random random(options.seed + 5);
  struct Case {
    uint32_t width;
    int noise_rank;
    uint64_t pairs;
  };
  // With a hundred to 150 multiprocessors these are blocks of 128, 128 and 64 rows, each of which
  // comes to several parts of the population, and the first has more terms than are added up at a
  // time, in 32 bits or at all.
  const Case cases[] = {{64, 16, 30000}, {256, 1, 20000}, {256, 4, 6000}};
  for (const Case& c : cases) {
    const int turn = static_cast<int>(random() % 12);
    IntRnnSettings settings = random_settings(random, c.width, turn);
    settings.shape.layers = 1;
    settings.noise_rank = c.noise_rank;
    settings.carry = Carry::own;
    check_run(settings, rule_of(turn), 16, {1, c.pairs}, 2, false, random, checks);
  }
}

void check_long_run(const Options& options, Checks& checks) {
  Random random(options.seed + 1);
  IntRnnSettings settings;
  settings.shape = options.quick ? IntRnnShape{1, 64} : IntRnnShape{6, 256};
  settings.seed = random();
  const PairRange pairs = {0, options.quick ? 9u : 264u};
  const int generations = options.quick ? 5 : 50;
  const uint32_t tokens = options.quick ? 2 : 8;
  checks.about(std::to_string(generations) + " generations, " + described(settings, pairs));
  Twins twins(settings, "sigma-delta", options.quick ? 1 : 16);
  const std::vector<int8_t> start =
      oracle::start_parameters(settings.shape, oracle::Start::initial, random);
  twins.both([&](Engines& twin) {
    twin.learner->write(0, std::as_bytes(std::span(start)));
    twin.model->assign(pairs);
  });
  const uint64_t slice = 100;
  const std::vector<uint8_t> text = oracle::random_text(pairs.count * slice, random);
  const int64_t threshold = 2 * 256 * oracle::isqrt(static_cast<int64_t>(pairs.count));
  const StepNumbers numbers = numbers_of({threshold, threshold});
  for (int g = 0; g < generations; ++g) {
    const Evaluation evaluation = {
        .generation = static_cast<uint64_t>(g),
        .noise_epoch = static_cast<uint32_t>(g),
        .segments = {text, slice, static_cast<uint64_t>(g) * tokens % slice, 2, tokens}};
    twins.both([&](Engines& twin) {
      const std::vector<int32_t> score = twin.scores(evaluation, pairs);
      std::vector<int16_t> d;
      for (size_t j = 0; j < pairs.count; ++j)
        d.push_back((score[2 * j] > score[2 * j + 1]) - (score[2 * j] < score[2 * j + 1]));
      twin.learner->reconstruct_and_step({evaluation.noise_epoch, 0, d}, numbers);
    });
  }
  checks.expect(twins.cpu.arena<int8_t>(0) != start, "something has been learnt");
  check_arenas(twins, generations - 1, checks);
}

}  // namespace eggroll::gpu_check
