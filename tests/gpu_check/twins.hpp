// Both twins side by side, and what checks ask of either.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/pair_source.hpp"
#include "kernels/cuda/devices.hpp"
#include "kernels/device.hpp"
#include "kernels/int_rnn.hpp"
#include "kernels/learner.hpp"
#include "tests/gpu_check/checks.hpp"
#include "tests/support/oracle.hpp"

namespace eggroll::gpu_check {

// What a call leaves in memory that held something else before.
template <typename T>
std::vector<T> poisoned(size_t size) {
  return std::vector<T>(size, static_cast<T>(0x5A5A5A5A));
}

// A device with a learner.
struct Engines {
  Engines(std::unique_ptr<Device> of, const LearnerSettings& settings)
      : device(std::move(of)), learner(device->make_learner(settings)) {}

  template <typename T>
  std::vector<T> arena(size_t which) {
    std::vector<T> values = poisoned<T>(learner->arena_bytes(which) / sizeof(T));
    learner->read(which, std::as_writable_bytes(std::span(values)));
    return values;
  }
  void reconstruct(const Utilities& utilities, bool wide) {
    learner->reconstruct(utilities, wide, {.bucket_ready = [](size_t) {}, .poll = [] {}});
  }
  // Scores of these pairs, a slice of this device's own.
  std::vector<int32_t> scores(const Evaluation& evaluation, PairRange pairs,
                              std::function<bool()> is_over = {});
  std::vector<std::byte> states(uint64_t pairs) {
    std::vector<std::byte> values =
        poisoned<std::byte>(pairs * model->slots_per_pair() * model->slot_bytes());
    model->read(0, values);
    return values;
  }

  std::unique_ptr<Device> device;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<IntRnn> model;  // where there is one
};

inline LearnerSettings learner_settings(const IntRnnSettings& settings,
                                        const std::string& optimizer) {
  return {.layout = int_rnn_layout(settings.shape),
          .seed = settings.seed,
          .noise_rank = settings.noise_rank,
          .optimizer = optimizer};
}

struct Twins {
  Twins(const LearnerSettings& settings, int threads)
      : cpu(make_device("cpu", {.threads = threads}), settings),
        cuda(cuda::make_cuda_device({}), settings),
        optimizer(settings.optimizer) {}
  // With the model whose parameters they learn.
  Twins(const IntRnnSettings& settings, const std::string& of, int threads)
      : Twins(learner_settings(settings, of), threads) {
    both([&](Engines& twin) { twin.model = twin.device->make_int_rnn(settings, *twin.learner); });
  }

  template <typename Action>
  void both(Action action) {
    action(cpu);
    action(cuda);
  }

  Engines cpu, cuda;
  std::string optimizer;
};

// Hands out ranges of pairs from the last to the first, and keeps their scores.
struct Pairs final : PairSource {
  uint64_t known() const override { return known_pairs; }
  std::optional<PairRange> take(uint64_t at_most) override {
    if (waiting.empty()) return std::nullopt;
    PairRange& next = waiting.back();
    const PairRange taken = {next.first, std::min({next.count, at_most, most})};
    next = {taken.end(), next.count - taken.count};
    if (next.count == 0) waiting.pop_back();
    return taken;
  }
  void finish(PairRange pairs, std::span<const double> fitness, const Tally& tally,
              std::span<const int64_t>) override {
    int64_t sum = 0;
    for (size_t i = 0; i < fitness.size(); ++i) {
      score[2 * (pairs.first - first) + i] = static_cast<int32_t>(fitness[i]);
      sum += static_cast<int32_t>(fitness[i]);
    }
    adds_up = adds_up && tally == Tally{{sum}};
    ++finished;
  }
  bool is_over() const override { return over && over(); }
  void close() override { waiting.clear(); }

  std::vector<PairRange> waiting;
  uint64_t known_pairs = 0;
  uint64_t first = 0;          // of all pairs
  uint64_t most = UINT64_MAX;  // taken at a time
  std::function<bool()> over = {};
  std::vector<int32_t> score;  // two a pair
  bool adds_up = true;
  int finished = 0;
};

inline std::vector<int32_t> Engines::scores(const Evaluation& evaluation, PairRange pairs,
                                            std::function<bool()> is_over) {
  Pairs source;
  source.waiting = {pairs};
  source.known_pairs = pairs.count;
  source.first = pairs.first;
  source.over = std::move(is_over);
  source.score = poisoned<int32_t>(2 * pairs.count);
  model->evaluate(evaluation, source);
  return source.adds_up ? source.score : std::vector<int32_t>();
}

std::string described(const IntRnnSettings& settings, PairRange pairs);
// Cases take turns in what they are made of.
IntRnnSettings random_settings(oracle::Random& random, uint32_t width, int turn);

// Z on both twins, and then the step, which reads it from the device or, where `through_host`, from the
// host's copy.
void check_update(Twins& twins, const Utilities& utilities, bool wide, bool through_host,
                  const StepNumbers& numbers, Checks& checks);
// What both have learnt: parameters and slots.
void check_arenas(Twins& twins, int generation, Checks& checks);

}  // namespace eggroll::gpu_check
