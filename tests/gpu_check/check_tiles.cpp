// Tiles handed out in any order, and work that is given up.
#include <chrono>

#include "common/partition.hpp"
#include "tests/gpu_check/checks.hpp"
#include "tests/gpu_check/twins.hpp"

namespace eggroll::gpu_check {

using oracle::Random;

void check_tiles(const Options& options, Checks& checks) {
  Random random(options.seed + 2);
  IntRnnSettings settings =
      random_settings(random, options.quick ? 64 : 256, static_cast<int>(random() % 12));
  settings.carry = Carry::reset;
  const uint64_t pairs = options.quick ? 60 : 1000;
  checks.about("tiles, " + described(settings, {0, pairs}));
  Twins twins(settings, "sigma-delta", 1);
  const std::vector<int8_t> start =
      oracle::start_parameters(settings.shape, oracle::Start::initial, random);
  const std::vector<uint8_t> text = oracle::random_text(pairs * 10, random);
  twins.both([&](Engines& twin) { twin.learner->write(0, std::as_bytes(std::span(start))); });
  const Evaluation evaluation = {.noise_epoch = 5, .segments = {text, 10, 3, 2, 3}};
  const std::vector<int32_t> expected = twins.cpu.scores(evaluation, {0, pairs});
  // Some that follow each other are taken together.
  Pairs tiles;
  for (uint64_t first = 0; first < pairs;) {
    const uint64_t count = std::min(pairs - first, kTilePairs * (1 + random() % 4));
    tiles.waiting.push_back({first, count});
    first += count;
  }
  std::ranges::shuffle(tiles.waiting, random);
  Pairs given_up = tiles;
  tiles.score = poisoned<int32_t>(2 * pairs);
  twins.cuda.model->evaluate(evaluation, tiles);
  checks.expect(tiles.adds_up && tiles.score == expected, "scores of tiles in any order");
  checks.expect(tiles.finished == static_cast<int>(tiles_of(pairs)), "tiles one by one");
  given_up.over = [] { return true; };
  twins.cuda.model->evaluate(evaluation, given_up);
  checks.expect(given_up.finished == 0 && given_up.waiting.empty(), "tiles that are given up");
}

void check_giving_up(const Options& options, Checks& checks) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Random random(options.seed + 4);
  IntRnnSettings settings;
  settings.seed = random();
  settings.carry = Carry::reset;
  const PairRange pairs = {0, 4096};
  checks.about("giving up, " + described(settings, pairs));
  Engines cuda(cuda::make_cuda_device({}), learner_settings(settings, "sigma-delta"));
  cuda.model = cuda.device->make_int_rnn(settings, *cuda.learner);
  const std::vector<int8_t> start =
      oracle::start_parameters(settings.shape, oracle::Start::initial, random);
  cuda.learner->write(0, std::as_bytes(std::span(start)));
  const uint64_t slice = 4096;
  const std::vector<uint8_t> text = oracle::random_text(pairs.count * slice, random);
  Evaluation evaluation = {.segments = {text, slice, 0, 2, 64}};
  double full_s = 0;
  std::vector<int32_t> score;
  for (;; evaluation.segments.tokens *= 2) {  // until it takes a while
    const Clock::time_point begin = Clock::now();
    score = cuda.scores(evaluation, pairs);
    full_s = since(begin);
    if (full_s > 0.3 || evaluation.segments.tokens >= slice / 2) break;
  }
  const Clock::time_point begin = Clock::now();
  cuda.scores(evaluation, pairs, [&] { return since(begin) > full_s / 10; });
  checks.expect(since(begin) < full_s / 2, "an evaluation of " + std::to_string(full_s) +
                                               " s that is given up after a tenth took " +
                                               std::to_string(since(begin)) + " s");
  checks.expect(cuda.scores(evaluation, pairs) == score, "the same scores after one was given up");
}

}  // namespace eggroll::gpu_check
