// The integer model of every device against the oracle, bit for bit.
#include "kernels/int_rnn.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "common/check.hpp"
#include "tests/support/devices.hpp"
#include "tests/support/given_pairs.hpp"
#include "tests/support/oracle.hpp"

namespace eggroll {
namespace {

using oracle::Random;
using oracle::random_states;
using oracle::random_text;
using oracle::Start;
using oracle::start_parameters;
using oracle::widened;
using test::devices;
using test::Egg;
using test::GivenPairs;
using test::read_arena;
using test::reconstructed;
using test::scores_of;
using test::write_arena;

uint64_t draw(Random& random, std::initializer_list<uint64_t> choices) {
  return choices.begin()[random() % choices.size()];
}

TEST(Oracle, KnowsWorkedExamples) {
  EXPECT_EQ(oracle::floor_div(-1, 16), -1);
  EXPECT_EQ(oracle::floor_div(-16, 16), -1);
  EXPECT_EQ(oracle::isqrt(65536), 256);
  EXPECT_EQ(oracle::isqrt(255), 15);
  EXPECT_EQ(oracle::clip8(-128), -127);
  EXPECT_EQ(oracle::exp2_16(0), 16);
  EXPECT_EQ(oracle::exp2_16(8), 22);
  EXPECT_EQ(oracle::exp2_16(255), 1004119);
  EXPECT_EQ(oracle::log2_16(4096), 128);
  EXPECT_EQ(oracle::log2_16(4277), 128);  // 4096 * 2^(1/16) = 4277.3
  EXPECT_EQ(oracle::log2_16(4278), 129);
  EXPECT_EQ(oracle::log2_16((1 << 28) - 1), 383);
  // Equal logits are 8 bits a byte.
  EXPECT_EQ(oracle::byte_score(oracle::Vector(256, 0), 65), -128);
  EXPECT_DOUBLE_EQ(oracle::byte_loss(oracle::Vector(256, -127), 65), 8.0);
}

TEST(Oracle, MembersOfAPairAreExactNegativesWhenRoundedToNearestAndNotUnderFloor) {
  using oracle::round_perturbation;
  for (int64_t value = -5000; value <= 5000; ++value)
    ASSERT_EQ(round_perturbation(value, 1, 8, Rounding::nearest),
              -round_perturbation(value, -1, 8, Rounding::nearest));
  EXPECT_EQ(round_perturbation(128, 1, 8, Rounding::nearest), 1);  // ties away from zero
  EXPECT_EQ(round_perturbation(-128, 1, 8, Rounding::nearest), -1);
  EXPECT_EQ(round_perturbation(127, -1, 8, Rounding::nearest), 0);
  EXPECT_EQ(round_perturbation(1, 1, 8, Rounding::floor), 0);
  EXPECT_EQ(round_perturbation(1, -1, 8, Rounding::floor), -1);
}

using Case = std::tuple<uint32_t, int, Rounding, Carry>;  // width, noise rank

std::string name_of(const testing::TestParamInfo<Case>& info) {
  const auto [width, noise_rank, rounding, carry] = info.param;
  const char* carry_name[] = {"own", "pair", "reset"};
  std::string name = "w";
  name += std::to_string(width);
  name += "_r";
  name += std::to_string(noise_rank);
  name += rounding == Rounding::nearest ? "_nearest_" : "_floor_";
  name += carry_name[static_cast<int>(carry)];
  return name;
}

class IntRnnMembers : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cpu, IntRnnMembers,
                         testing::Combine(testing::Values(64, 256), testing::Values(1, 4, 16),
                                          testing::Values(Rounding::nearest, Rounding::floor),
                                          testing::Values(Carry::own, Carry::pair, Carry::reset)),
                         name_of);

// Several generations of a random run; the oracle follows some of the pairs, at the edges of tiles
// and in between.
TEST_P(IntRnnMembers, ScoresAndCarriedStatesAreThoseOfTheOracle) {
  const auto [width, noise_rank, rounding, carry] = GetParam();
  for (Start start : {Start::initial, Start::full_range, Start::extreme, Start::quiet}) {
    // The wide model is slow in the oracle: less of it.
    if (width != 64 && start == Start::quiet) continue;
    if (width != 64 && start == Start::extreme && carry != Carry::own) continue;
    Random random(1000 * width + 100 * noise_rank + 20 * static_cast<int>(rounding) +
                  4 * static_cast<int>(carry) + static_cast<int>(start));
    IntRnnSettings settings;
    settings.shape = {static_cast<uint32_t>(1 + random() % 2), width};
    settings.seed = random();
    settings.noise_rank = noise_rank;
    settings.rounding = rounding;
    settings.carry = carry;
    settings.sigma_shift = static_cast<int>(draw(random, {3, 4, 5}));
    const int threads = static_cast<int>(draw(random, {1, 2}));
    const PairRange pairs{draw(random, {0, 5, 16, 37}), draw(random, {3, 16, 21, 35})};
    const uint64_t slice = draw(random, {4, 9, 11});
    const uint32_t group_size = static_cast<uint32_t>(draw(random, {2, 8}));
    const uint64_t first_generation = random() % 2;
    const int generations = width > 64 ? 2 : 3;
    SCOPED_TRACE(testing::Message()
                 << "start " << static_cast<int>(start) << " layers " << settings.shape.layers
                 << " sigma_shift " << settings.sigma_shift << " threads " << threads << " pairs "
                 << pairs.first << "+" << pairs.count << " slice " << slice << " group "
                 << group_size);

    const std::vector<int8_t> parameters = start_parameters(settings.shape, start, random);
    const std::vector<uint8_t> text =
        random_text((pairs.end() * 2 / group_size + 1) * slice, random);
    std::vector<Evaluation> run;
    uint64_t position = slice - 2;  // the first segment wraps
    for (int g = 0; g < generations; ++g) {
      Evaluation evaluation;
      evaluation.generation = first_generation + g;
      evaluation.noise_epoch = 40 + g / 2;
      evaluation.segments = {text, slice, position, group_size,
                             static_cast<uint32_t>(3 + random() % 4)};
      position = (position + evaluation.segments.tokens) % slice;
      run.push_back(evaluation);
    }
    const size_t state_size = size_t{settings.shape.layers} * settings.shape.width;
    const size_t slots_per_pair = carry == Carry::own ? 2 : carry == Carry::pair ? 1 : 0;
    std::vector<int8_t> first_states(pairs.count * slots_per_pair * state_size, 0);
    if (random() % 2 == 0) first_states = random_states(first_states.size(), random);
    const std::span<const int8_t> all_states(first_states);

    // The oracle.
    std::set<uint64_t> followed{0, pairs.count / 2, pairs.count - 1};
    for (uint64_t j : {1, 15, 16, 32})
      if (j < pairs.count && width == 64) followed.insert(j);
    struct Followed {
      std::vector<oracle::PairScores> scores;
      std::vector<oracle::Vector> slots;
    };
    std::vector<Followed> expected(pairs.count);
    bool told_apart = false;
    for (uint64_t j : followed) {
      for (size_t s = 0; s < slots_per_pair; ++s)
        expected[j].slots.push_back(
            widened(all_states.subspan((j * slots_per_pair + s) * state_size, state_size)));
      for (const Evaluation& evaluation : run) {
        expected[j].scores.push_back(oracle::evaluate_pair(settings, parameters, evaluation,
                                                           pairs.first + j, expected[j].slots));
        told_apart |= expected[j].scores.back().plus != expected[j].scores.back().minus;
      }
    }
    // Extreme parameters may saturate every logit; the others must show something.
    EXPECT_TRUE(told_apart || start == Start::extreme) << "all pairs tie";

    for (const std::string& name : devices()) {
      SCOPED_TRACE(name);
      const Egg egg(name, settings, threads);
      write_arena(*egg.learner, 0, parameters);
      egg.model->assign(pairs);
      ASSERT_EQ(egg.model->slots_per_pair(), slots_per_pair);
      ASSERT_EQ(egg.model->slot_bytes(), state_size);
      if (slots_per_pair > 0) egg.model->write(0, std::as_bytes(std::span(first_states)));
      for (size_t g = 0; g < run.size(); ++g) {
        const std::vector<int32_t> score = scores_of(*egg.model, run[g], pairs);
        for (uint64_t j : followed) {
          EXPECT_EQ(score[2 * j], expected[j].scores[g].plus) << "pair " << j << " time " << g;
          EXPECT_EQ(score[2 * j + 1], expected[j].scores[g].minus) << "pair " << j << " time " << g;
        }
      }
      std::vector<int8_t> state(state_size);
      for (uint64_t j : followed) {
        for (size_t s = 0; s < slots_per_pair; ++s) {
          egg.model->read(j * slots_per_pair + s, std::as_writable_bytes(std::span(state)));
          EXPECT_EQ(widened(state), expected[j].slots[s]) << "state " << s << " of pair " << j;
        }
      }
    }
  }
}

TEST(IntRnnStates, SurviveARoundTripInPiecesAndBecomeZeroOnANewAssignment) {
  Random random(5);
  for (const std::string& name : devices()) {
    for (Carry carry : {Carry::own, Carry::pair, Carry::reset}) {
      SCOPED_TRACE(name);
      IntRnnSettings settings;
      settings.shape = {2, 64};
      settings.carry = carry;
      const Egg egg(name, settings);
      egg.model->assign({3, 19});
      const uint64_t slots_per_pair = carry == Carry::own ? 2 : carry == Carry::pair ? 1 : 0;
      const uint64_t slots = 19 * slots_per_pair;
      ASSERT_EQ(egg.model->slots_per_pair(), slots_per_pair);
      if (slots == 0) continue;
      EXPECT_EQ(egg.model->slot_shape(), (std::vector<uint64_t>{2, 64}));
      const size_t size = 2 * 64;
      const std::vector<int8_t> written = random_states(slots * size, random);
      const std::span<const std::byte> all = std::as_bytes(std::span(written));
      egg.model->write(7, all.subspan(7 * size));  // 7 on, then the first 7
      egg.model->write(0, all.first(7 * size));
      std::vector<int8_t> read(written.size());
      const std::span<std::byte> bytes = std::as_writable_bytes(std::span(read));
      egg.model->read(0, bytes.first(3 * size));
      egg.model->read(3, bytes.subspan(3 * size));
      EXPECT_EQ(read, written);
      EXPECT_THROW(egg.model->write(slots, all.first(size)), Error);
      egg.model->assign({0, 5});
      read.resize(5 * slots_per_pair * size);
      egg.model->read(0, std::as_writable_bytes(std::span(read)));
      EXPECT_EQ(read, std::vector<int8_t>(read.size(), 0));
    }
  }
}

// Each byte's exact loss may round once to 2^-24 bit and carry the last bits of a few double
// operations: 2^-20 bit a byte holds both with room, and is far below anything a report shows.
TEST(IntRnnScores, StreamsScoreAsTheOracleAndSplitAnywhere) {
  Random random(8);
  for (uint32_t width : {64u, 256u}) {
    for (Start start : {Start::initial, Start::full_range}) {
      IntRnnSettings settings;
      settings.shape = {2, width};
      const int threads = width == 64 ? 2 : 1;
      const std::vector<int8_t> parameters = start_parameters(settings.shape, start, random);
      const uint64_t streams = width == 64 ? 19 : 5;
      const std::vector<uint8_t> text = random_text(streams * 12 + 3, random);  // 3 belong to none
      const oracle::TextScores expected =
          oracle::score_streams(settings, parameters, text, streams, 0, streams);
      for (const std::string& name : devices()) {
        SCOPED_TRACE(testing::Message() << name << " width " << width);
        const Egg egg(name, settings, threads);
        write_arena(*egg.learner, 0, parameters);
        const StreamScores all = egg.model->score_streams(text, streams, 0, streams);
        EXPECT_EQ(all.score_sum, expected.score_sum);
        EXPECT_EQ(all.tokens, expected.tokens);
        EXPECT_EQ(all.tokens, streams * 11);
        EXPECT_NEAR(std::ldexp(static_cast<double>(all.loss_2e24), -24), expected.loss,
                    std::ldexp(static_cast<double>(all.tokens), -20));
        const StreamScores head = egg.model->score_streams(text, streams, 0, 2);
        const StreamScores tail = egg.model->score_streams(text, streams, 2, streams - 2);
        EXPECT_EQ(head.score_sum + tail.score_sum, all.score_sum);
        EXPECT_EQ(head.loss_2e24 + tail.loss_2e24, all.loss_2e24);
        EXPECT_EQ(head.tokens + tail.tokens, all.tokens);
        EXPECT_EQ(egg.model->score_streams(text, streams, 1, 0).tokens, 0u);
      }
    }
  }
}

TEST(IntRnnScores, NextLogitsAndTheStateBehindThemAreThoseOfTheOracle) {
  Random random(9);
  for (uint32_t width : {64u, 256u}) {
    for (Start start : {Start::initial, Start::full_range, Start::extreme, Start::quiet}) {
      IntRnnSettings settings;
      settings.shape = {2, width};
      const std::vector<int8_t> parameters = start_parameters(settings.shape, start, random);
      const oracle::Model model(settings, parameters);
      const std::vector<int8_t> first_state = random_states(2 * width, random);
      for (const std::string& name : devices()) {
        SCOPED_TRACE(testing::Message() << name << " width " << width);
        const Egg egg(name, settings);
        write_arena(*egg.learner, 0, parameters);
        std::vector<int8_t> state = first_state, logits(256);
        oracle::Vector expected_state = widened(first_state);
        for (uint8_t token : {65, 255, 0, 1, 128}) {
          egg.model->next_logits(token, state, logits);
          EXPECT_EQ(widened(logits), model.next_logits(token, expected_state));
          EXPECT_EQ(widened(state), expected_state);
        }
      }
    }
  }
}

// No oracle, so larger: 48 members, 20 bytes, two generations, every score and state, an update and
// a validation in between.
TEST(IntRnnDevices, AllGiveTheSameRunWithAnyNumberOfThreads) {
  struct Result {
    std::vector<int32_t> score;
    std::vector<int8_t> states, parameters;
    std::vector<int64_t> z;
    StreamScores validation;
  };
  Random random(10);
  IntRnnSettings settings;
  settings.shape = {2, 256};
  settings.seed = random();
  const std::vector<int8_t> parameters = start_parameters(settings.shape, Start::initial, random);
  const std::vector<uint8_t> text = random_text(24 * 64, random);
  const auto run = [&](const std::string& name, int threads) {
    const Egg egg(name, settings, threads);
    Result result;
    write_arena(*egg.learner, 0, parameters);
    egg.model->assign({0, 24});
    for (uint32_t g = 0; g < 2; ++g) {
      const std::vector<int32_t> score =
          scores_of(*egg.model, {g, g, {text, 64, 50 * g, 2, 10}}, {0, 24});
      std::vector<int16_t> d;
      for (int j = 0; j < 24; ++j)
        d.push_back((score[2 * j] > score[2 * j + 1]) - (score[2 * j] < score[2 * j + 1]));
      result.z = reconstructed(*egg.learner, {g, 0, d}, false);
      for (size_t b = 0; b < egg.learner->buckets().size(); ++b)
        egg.learner->step(b, oracle::numbers_of({.low_rank = 900, .product = 800}), false);
      result.score.insert(result.score.end(), score.begin(), score.end());
    }
    result.states.resize(24 * 512);
    egg.model->read(0, std::as_writable_bytes(std::span(result.states)));
    result.parameters = read_arena<int8_t>(*egg.learner, 0);
    result.validation = egg.model->score_streams(std::span(text).first(300), 6, 0, 6);
    return result;
  };
  const Result first = run(devices().front(), 2);
  EXPECT_NE(first.parameters, parameters);
  for (const std::string& name : devices()) {
    for (int threads : {1, 2}) {
      SCOPED_TRACE(testing::Message() << name << ", " << threads << " threads");
      const Result other = run(name, threads);
      EXPECT_EQ(other.score, first.score);
      EXPECT_TRUE(other.states == first.states);
      EXPECT_TRUE(other.z == first.z);
      EXPECT_TRUE(other.parameters == first.parameters);
      EXPECT_EQ(other.validation.score_sum, first.validation.score_sum);
      EXPECT_EQ(other.validation.loss_2e24, first.validation.loss_2e24);
    }
  }
}

// More pairs than any table takes at a time, at once and as tiles that come in any order.
TEST(IntRnnDevices, AllScoreManyPairsAlikeAtOnceAndAsTiles) {
  constexpr uint64_t kPairs = 251;
  Random random(11);
  IntRnnSettings settings;
  settings.shape = {1, 64};
  settings.seed = random();
  settings.carry = Carry::reset;
  const std::vector<int8_t> parameters = start_parameters(settings.shape, Start::initial, random);
  const std::vector<uint8_t> text = random_text(kPairs * 8, random);
  std::vector<PairRange> tiles;  // some follow each other, some do not
  for (const uint64_t tile : {1, 2, 0, 8, 7, 6, 4, 5, 3, 15, 14, 13, 12, 11, 10, 9})
    tiles.push_back(pairs_of_tile(kPairs, tile));
  std::vector<int32_t> first;
  for (const std::string& name : devices())
    for (int threads : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << name << ", " << threads << " threads");
      const Egg egg(name, settings, threads);
      write_arena(*egg.learner, 0, parameters);
      const Evaluation evaluation = {.noise_epoch = 2, .segments = {text, 8, 3, 2, 4}};
      const std::vector<int32_t> score = scores_of(*egg.model, evaluation, {0, kPairs});
      if (first.empty()) first = score;
      EXPECT_TRUE(score == first);
      GivenPairs source(tiles, 0, kPairs);
      egg.model->evaluate(evaluation, source);
      EXPECT_FALSE(source.is_closed());
      EXPECT_TRUE(source.scores == first);
    }
}

// A slice or tiles, left by all where they are of no use any more, and closed where they cannot be run:
// where the text is too short for its members.
TEST(IntRnnDevices, ASourceThatIsOverIsLeftAndOneThatCannotBeRunIsClosed) {
  IntRnnSettings settings;
  settings.shape = {1, 64};
  settings.carry = Carry::reset;
  const std::vector<uint8_t> text(24 * 8, 'e');
  for (const std::string& name : devices())
    for (const bool is_known : {true, false}) {
      SCOPED_TRACE(testing::Message() << name << (is_known ? ", a slice" : ", tiles"));
      const Egg egg(name, settings, 2);
      for (const size_t missing : {0, 1}) {
        const std::span<const uint8_t> read = std::span(text).first(text.size() - missing);
        const Evaluation evaluation = {.noise_epoch = 2, .segments = {read, 8, 3, 2, 4}};
        GivenPairs source =
            is_known ? GivenPairs(PairRange{0, 24}) : GivenPairs({{0, 16}, {16, 8}}, 0, 24);
        if (missing == 0) {
          source.over = true;
          egg.model->evaluate(evaluation, source);
          EXPECT_EQ(std::ranges::count(source.scores, INT32_MIN), 2 * 24);
        } else {
          EXPECT_THROW(egg.model->evaluate(evaluation, source), Error);
        }
        EXPECT_EQ(source.is_closed(), missing > 0);
      }
    }
}

}  // namespace
}  // namespace eggroll
