#include "tests/gpu_check/checks.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>

#include "kernels/cuda/devices.hpp"
#include "tests/support/oracle.hpp"

namespace eggroll::gpu_check {
namespace {

using oracle::Random;

// Both twins of one run.
struct Twins {
  explicit Twins(const BackendSettings& settings)
      : cpu(make_backend("cpu", settings)), cuda(cuda::make_cuda_backend(settings)) {}

  template <typename Action>
  void both(Action action) {
    action(*cpu);
    action(*cuda);
  }

  std::unique_ptr<Backend> cpu, cuda;
};

std::string described(const BackendSettings& s, PairRange pairs) {
  const char* carry[] = {"own", "pair", "reset"};
  return "layers " + std::to_string(s.shape.layers) + " width " + std::to_string(s.shape.width) +
         " r " + std::to_string(s.noise_rank) +
         (s.rounding == Rounding::nearest ? " nearest" : " floor") + " carry " +
         carry[static_cast<int>(s.carry)] +
         (s.update == UpdateRule::threshold ? " threshold" : " sigma-delta") + " sigma-shift " +
         std::to_string(s.sigma_shift) + " pairs " + std::to_string(pairs.first) + "+" +
         std::to_string(pairs.count) + " seed " + std::to_string(s.seed);
}

// What a call leaves in memory that held something else before.
template <typename T>
std::vector<T> poisoned(size_t size) {
  return std::vector<T>(size, static_cast<T>(0x5A5A5A5A));
}

std::vector<int8_t> parameters_of(Backend& backend) {
  std::vector<int8_t> values = poisoned<int8_t>(backend.layout().size());
  backend.read_parameters(values);
  return values;
}

std::vector<int32_t> accumulators_of(Backend& backend) {
  std::vector<int32_t> values = poisoned<int32_t>(backend.layout().size());
  backend.read_accumulators(values);
  return values;
}

std::vector<int32_t> scores_of(Backend& backend, const Evaluation& evaluation, uint64_t members) {
  std::vector<int32_t> score = poisoned<int32_t>(members);
  backend.evaluate(evaluation, score);
  return score;
}

std::vector<int8_t> states_of(Backend& backend, uint64_t slot_bytes) {
  std::vector<int8_t> states = poisoned<int8_t>(backend.state_slots() * slot_bytes);
  backend.read_states(0, states);
  return states;
}

std::vector<int8_t> differences(std::span<const int32_t> score, Random& random) {
  std::vector<int8_t> d;
  for (size_t j = 0; j < score.size() / 2; ++j) {
    const int sign = (score[2 * j] > score[2 * j + 1]) - (score[2 * j] < score[2 * j + 1]);
    d.push_back(static_cast<int8_t>(sign * static_cast<int>(random() % 3)));
  }
  return d;
}

void reconstruct(Backend& backend, uint32_t epoch, std::span<const int8_t> d, bool wide) {
  backend.reconstruct(epoch, d, wide, {.bucket_ready = [](size_t) {}, .poll = [] {}});
}

// Z on both twins, and then the step, which reads it from the device or, where `through_host`, from
// the host's copy.
void check_update(Twins& twins, uint32_t epoch, std::span<const int8_t> d, bool wide,
                  bool through_host, const StepRule& rule, Checks& checks) {
  twins.both([&](Backend& backend) { reconstruct(backend, epoch, d, wide); });
  checks.expect(twins.cpu->buckets().size() == twins.cuda->buckets().size(), "the same buckets");
  for (size_t b = 0; b < twins.cpu->buckets().size(); ++b) {
    if (wide) {
      checks.expect(twins.cpu->largest_magnitude(b) == twins.cuda->largest_magnitude(b),
                    "largest |Z| of bucket " + std::to_string(b));
      checks.expect(
          std::ranges::equal(twins.cpu->wide_partial_update(b), twins.cuda->wide_partial_update(b)),
          "Z of bucket " + std::to_string(b) + " in 64 bits");
      twins.both([b](Backend& backend) { backend.narrow(b); });
    }
    checks.expect(std::ranges::equal(twins.cpu->partial_update(b), twins.cuda->partial_update(b)),
                  "Z of bucket " + std::to_string(b));
    if (!through_host) twins.cuda->device_partial_update(b, wide);
    // As the first of two ranks, and as the other; parameters are exchanged in between.
    const size_t size = twins.cpu->buckets()[b].size;
    for (int rank : {0, 1}) {
      const Shard shard = shard_of_rank(size, rank, 2);
      twins.both(
          [&](Backend& backend) { backend.step_shard(b, shard, rule, wide && !through_host); });
      const std::span<int8_t> x = twins.cpu->give_parameters(b, shard);
      if (!through_host) twins.cuda->device_parameters(b);
      const std::span<int8_t> y = twins.cuda->give_parameters(b, {0, size});
      checks.expect(std::ranges::equal(x, y), "parameters of bucket " + std::to_string(b));
      twins.both([b](Backend& backend) { backend.take_parameters(b); });
    }
  }
  checks.expect(twins.cpu->take_changed() == twins.cuda->take_changed(),
                "how many parameters changed");
}

void check_model(Twins& twins, const IntRnnShape& shape, Random& random, Checks& checks) {
  const uint64_t streams = 1 + random() % 70, length = 2 + random() % 9;
  const std::vector<uint8_t> text = oracle::random_text(streams * length + random() % 2, random);
  const uint64_t first = random() % streams;
  const StreamScores a = twins.cpu->score_streams(text, streams, first, streams - first);
  const StreamScores b = twins.cuda->score_streams(text, streams, first, streams - first);
  checks.expect(a.score_sum == b.score_sum && a.loss_2e24 == b.loss_2e24 && a.tokens == b.tokens,
                "scores of streams");
  std::vector<int8_t> state = oracle::random_states(size_t{shape.layers} * shape.width, random);
  std::vector<int8_t> other = state;
  for (int k = 0; k < 3; ++k) {
    const auto token = static_cast<uint8_t>(random());
    std::vector<int8_t> x = poisoned<int8_t>(256), y = poisoned<int8_t>(256);
    twins.cpu->next_logits(token, state, x);
    twins.cuda->next_logits(token, other, y);
    checks.expect(x == y, "logits of the next byte");
    checks.expect(state == other, "the state behind them");
  }
}

// One pair by the oracle, so that a fault of both twins would show.
void check_first_pair(const BackendSettings& settings, std::span<const int8_t> parameters,
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

void check_run(const BackendSettings& settings, PairRange pairs, int generations, bool with_oracle,
               Random& random, Checks& checks) {
  checks.about(described(settings, pairs));
  Twins twins(settings);
  const auto start = static_cast<oracle::Start>(random() % 4);
  std::vector<int8_t> parameters = oracle::start_parameters(settings.shape, start, random);
  twins.both([&](Backend& backend) {
    backend.write_parameters(parameters);
    backend.assign_pairs(pairs);
  });
  const uint64_t slot_bytes = uint64_t{settings.shape.layers} * settings.shape.width;
  std::vector<int8_t> states = oracle::random_states(twins.cpu->state_slots() * slot_bytes, random);
  if (random() % 2 == 0) {
    twins.both([&](Backend& backend) { backend.write_states(0, states); });
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
    const std::vector<int32_t> score = scores_of(*twins.cpu, evaluation, 2 * pairs.count);
    checks.expect(scores_of(*twins.cuda, evaluation, 2 * pairs.count) == score,
                  "scores of generation " + std::to_string(g));
    if (g == 0 && with_oracle)
      check_first_pair(settings, parameters, evaluation, pairs, states, score, checks);
    checks.expect(states_of(*twins.cuda, slot_bytes) == states_of(*twins.cpu, slot_bytes),
                  "states after generation " + std::to_string(g));
    const StepRule rule = {.matrix_threshold = static_cast<int64_t>(1 + random() % 40000),
                           .vector_threshold = static_cast<int64_t>(1 + random() % 20000)};
    check_update(twins, evaluation.noise_epoch, differences(score, random), wide, random() % 2 == 0,
                 rule, checks);
    checks.expect(parameters_of(*twins.cuda) == parameters_of(*twins.cpu),
                  "parameters after generation " + std::to_string(g));
    if (settings.update == UpdateRule::sigma_delta)
      checks.expect(accumulators_of(*twins.cuda) == accumulators_of(*twins.cpu),
                    "accumulators after generation " + std::to_string(g));
  }
  check_model(twins, settings.shape, random, checks);
}

// Rules and ranks in turn: twelve cases have each rule with each rank.
BackendSettings random_settings(Random& random, uint32_t width, int turn) {
  BackendSettings settings;
  settings.shape = {static_cast<uint32_t>(1 + random() % 2), width};
  settings.seed = random();
  const int ranks[] = {1, 4, 16};
  settings.noise_rank = ranks[turn % 3];
  settings.sigma_shift = static_cast<int>(3 + random() % 3);
  settings.rounding = turn % 2 == 0 ? Rounding::nearest : Rounding::floor;
  settings.carry = static_cast<Carry>((turn + turn / 3) % 3);
  settings.update = turn / 2 % 2 == 0 ? UpdateRule::threshold : UpdateRule::sigma_delta;
  return settings;
}

}  // namespace

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
    BackendSettings settings = random_settings(random, width, c);
    settings.threads = options.quick ? 1 : 8;
    const PairRange pairs = {random() % 50, 1 + random() % (options.quick ? 30 : 400)};
    check_run(settings, pairs, options.quick ? 2 : 3, true, random, checks);
  }
  if (options.quick) return;
  // Activations that do not fit into shared memory, and wide sums of the perturbation.
  for (const auto& [width, noise_rank] : {std::pair{1024u, 1}, {1024u, 16}, {4096u, 4}}) {
    BackendSettings settings = random_settings(random, width, static_cast<int>(random() % 12));
    settings.shape.layers = 1;
    settings.noise_rank = noise_rank;
    settings.threads = 16;
    check_run(settings, {3, 40}, 1, false, random, checks);
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
    BackendSettings settings = random_settings(random, c.width, static_cast<int>(random() % 12));
    settings.shape.layers = 1;
    settings.noise_rank = c.noise_rank;
    settings.carry = Carry::own;
    settings.threads = 16;
    check_run(settings, {1, c.pairs}, 2, false, random, checks);
  }
}

void check_long_run(const Options& options, Checks& checks) {
  Random random(options.seed + 1);
  BackendSettings settings;
  settings.shape = options.quick ? IntRnnShape{1, 64} : IntRnnShape{6, 256};
  settings.seed = random();
  settings.threads = options.quick ? 1 : 16;
  const PairRange pairs = {0, options.quick ? 9u : 264u};
  const int generations = options.quick ? 5 : 50;
  const uint32_t tokens = options.quick ? 2 : 8;
  checks.about(std::to_string(generations) + " generations, " + described(settings, pairs));
  Twins twins(settings);
  const std::vector<int8_t> start =
      oracle::start_parameters(settings.shape, oracle::Start::initial, random);
  twins.both([&](Backend& backend) {
    backend.write_parameters(start);
    backend.assign_pairs(pairs);
  });
  const uint64_t slice = 100;
  const std::vector<uint8_t> text = oracle::random_text(pairs.count * slice, random);
  const int64_t threshold = 2 * 256 * oracle::isqrt(static_cast<int64_t>(pairs.count));
  for (int g = 0; g < generations; ++g) {
    const Evaluation evaluation = {
        .generation = static_cast<uint64_t>(g),
        .noise_epoch = static_cast<uint32_t>(g),
        .segments = {text, slice, static_cast<uint64_t>(g) * tokens % slice, 2, tokens}};
    const auto advance = [&](Backend& backend) {
      const std::vector<int32_t> score = scores_of(backend, evaluation, 2 * pairs.count);
      std::vector<int8_t> d;
      for (size_t j = 0; j < pairs.count; ++j)
        d.push_back((score[2 * j] > score[2 * j + 1]) - (score[2 * j] < score[2 * j + 1]));
      reconstruct(backend, evaluation.noise_epoch, d, false);
      for (size_t b = 0; b < backend.buckets().size(); ++b)
        backend.step(b, {threshold, threshold}, false);
    };
    twins.both(advance);
  }
  checks.expect(parameters_of(*twins.cpu) != start, "something has been learnt");
  checks.expect(parameters_of(*twins.cuda) == parameters_of(*twins.cpu), "the same parameters");
  checks.expect(accumulators_of(*twins.cuda) == accumulators_of(*twins.cpu),
                "the same accumulators");
}

namespace {

// Hands out its tiles in the order they stand in.
struct Tiles final : TileSource {
  std::vector<PairRange> taken(size_t at_most) {
    std::vector<PairRange> some;
    while (!waiting.empty() && some.size() < at_most) {
      some.push_back(waiting.back());
      waiting.pop_back();
    }
    return some;
  }
  std::vector<PairRange> take(size_t at_most) override { return taken(std::min(at_most, most)); }
  void finish(PairRange pairs, std::span<const int32_t> from) override {
    std::ranges::copy(from, score.begin() + static_cast<std::ptrdiff_t>(2 * pairs.first));
    ++finished;
  }
  void close() override { waiting.clear(); }

  std::vector<PairRange> waiting;
  std::vector<int32_t> score;
  size_t most = 0;
  int finished = 0;
};

}  // namespace

void check_tiles(const Options& options, Checks& checks) {
  Random random(options.seed + 2);
  BackendSettings settings =
      random_settings(random, options.quick ? 64 : 256, static_cast<int>(random() % 12));
  settings.carry = Carry::reset;
  const uint64_t pairs = options.quick ? 60 : 1000;
  checks.about("tiles, " + described(settings, {0, pairs}));
  Twins twins(settings);
  const std::vector<int8_t> start =
      oracle::start_parameters(settings.shape, oracle::Start::initial, random);
  const std::vector<uint8_t> text = oracle::random_text(pairs * 10, random);
  twins.both([&](Backend& backend) {
    backend.write_parameters(start);
    backend.assign_pairs({0, pairs});
  });
  Evaluation evaluation = {.noise_epoch = 5, .segments = {text, 10, 3, 2, 3}};
  const std::vector<int32_t> expected = scores_of(*twins.cpu, evaluation, 2 * pairs);
  Tiles tiles;
  for (uint64_t t = 0; t < tiles_of(pairs); ++t) tiles.waiting.push_back(pairs_of_tile(pairs, t));
  std::ranges::shuffle(tiles.waiting, random);
  Tiles given_up = tiles;
  tiles.score = poisoned<int32_t>(2 * pairs);
  tiles.most = 1 + random() % 8;
  twins.cuda->evaluate_tiles(evaluation, tiles);
  checks.expect(tiles.score == expected, "scores of tiles in any order");
  evaluation.give_up = [] { return true; };
  given_up.most = 4;
  twins.cuda->evaluate_tiles(evaluation, given_up);
  checks.expect(given_up.finished == 0 && given_up.waiting.empty(), "tiles that are given up");
}

void check_giving_up(const Options& options, Checks& checks) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Random random(options.seed + 4);
  BackendSettings settings;
  settings.seed = random();
  settings.carry = Carry::reset;
  const PairRange pairs = {0, 4096};
  checks.about("giving up, " + described(settings, pairs));
  const std::unique_ptr<Backend> backend = cuda::make_cuda_backend(settings);
  backend->write_parameters(
      oracle::start_parameters(settings.shape, oracle::Start::initial, random));
  backend->assign_pairs(pairs);
  const uint64_t slice = 4096;
  const std::vector<uint8_t> text = oracle::random_text(pairs.count * slice, random);
  Evaluation evaluation = {.segments = {text, slice, 0, 2, 64}};
  double full_s = 0;
  std::vector<int32_t> score;
  for (;; evaluation.segments.tokens *= 2) {  // until it takes a while
    const Clock::time_point start = Clock::now();
    score = scores_of(*backend, evaluation, 2 * pairs.count);
    full_s = since(start);
    if (full_s > 0.3 || evaluation.segments.tokens >= slice / 2) break;
  }
  const Clock::time_point start = Clock::now();
  evaluation.give_up = [&] { return since(start) > full_s / 10; };
  std::vector<int32_t> nothing(score.size());
  backend->evaluate(evaluation, nothing);
  checks.expect(since(start) < full_s / 2, "an evaluation of " + std::to_string(full_s) +
                                               " s that is given up after a tenth took " +
                                               std::to_string(since(start)) + " s");
  evaluation.give_up = {};
  checks.expect(scores_of(*backend, evaluation, 2 * pairs.count) == score,
                "the same scores after one was given up");
}

}  // namespace eggroll::gpu_check
