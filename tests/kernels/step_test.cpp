// The step of every optimiser on every device: element by element its own step(), bit for bit, whatever
// the layout and however it is divided; and the formulas of the literature in double, within a bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/optimizers.hpp"
#include "tests/support/devices.hpp"

namespace eggroll {
namespace {

using Random = std::mt19937_64;
using test::device_on;
using test::devices;
using test::read_arena;
using test::write_arena;

// Odd sizes, every noise, more elements than one thread steps at a time, and frozen tensors whose bytes
// stand in between.
ParameterLayout layout_of(Element element) {
  ParameterLayout layout;
  layout.add("first", Role::vector, Noise::none, Element::int8, 3, 1);
  layout.add("large", Role::matrix, Noise::low_rank, element, 401, 331);
  layout.add("odd", Role::embedding, Noise::low_rank, element, 3, 5);
  layout.add("frozen", Role::matrix, Noise::none, Element::float32, 7, 5);
  layout.add("full", Role::vector, Noise::full, element, 7, 1);
  layout.add("product", Role::vector, Noise::product, element, 65, 1);
  return layout;
}

// Sums as they come, 0 among them; sometimes huge, where they are 64 bits wide.
int64_t draw_sum(Random& random, bool wide) {
  if (random() % 8 == 0) return 0;
  const int64_t size = static_cast<int64_t>(random() % 3000000);
  if (wide && random() % 8 == 0) return (random() % 2 == 0 ? size : -size) << 20;
  return random() % 2 == 0 ? size : -size;
}

constexpr int16_t kNoDifference[] = {0};

// Puts z into the sums of all buckets, as messages between ranks would.
void give_sums(Learner& learner, const std::vector<int64_t>& z, bool wide) {
  learner.reconstruct({0, 0, kNoDifference}, wide, {.bucket_ready = [](size_t) {}, .poll = [] {}});
  for (size_t b = 0; b < learner.buckets().size(); ++b) {
    const auto fill = [&](auto sums) {
      for (size_t e = 0; e < sums.size(); ++e)
        sums[e] =
            static_cast<typename decltype(sums)::value_type>(z[learner.buckets()[b].offset + e]);
    };
    wide ? fill(learner.wide_partial_update(b)) : fill(learner.partial_update(b));
  }
}

std::vector<std::byte> bytes_of_arena(Learner& learner, size_t arena) {
  std::vector<std::byte> bytes(learner.arena_bytes(arena));
  learner.read(arena, bytes);
  return bytes;
}

// Steps all that is trained one element at a time; arenas as the learner has them. Returns how many
// weights changed.
template <typename Optimizer>
uint64_t step_one_by_one(const ParameterLayout& layout, const StepNumbers& numbers,
                         const std::vector<int64_t>& z,
                         std::vector<std::vector<std::byte>>& arenas) {
  uint64_t changed = 0;
  for (const TensorSpec& tensor : layout.tensors()) {
    if (!tensor.is_trained()) continue;
    const auto own = numbers.get<typename Optimizer::Numbers>(tensor.noise);
    for (size_t e = 0; e < tensor.size(); ++e) [&]<size_t... I>(std::index_sequence<I...>) {
        ElementType<Optimizer::kMoves> weight;
        std::tuple<ElementType<Optimizer::kSlots[I].element>...> slots;
        std::byte* const at = arenas[0].data() + tensor.at + e * sizeof weight;
        std::memcpy(&weight, at, sizeof weight);
        [[maybe_unused]] const auto slot_at = [&](size_t slot, size_t size) {
          return arenas[1 + slot].data() + (tensor.offset + e) * size;
        };
        (std::memcpy(&std::get<I>(slots), slot_at(I, sizeof std::get<I>(slots)),
                     sizeof std::get<I>(slots)),
         ...);
        changed += Optimizer::step(z[tensor.offset + e], own, weight, std::get<I>(slots)...);
        std::memcpy(at, &weight, sizeof weight);
        (std::memcpy(slot_at(I, sizeof std::get<I>(slots)), &std::get<I>(slots),
                     sizeof std::get<I>(slots)),
         ...);
      }
    (std::make_index_sequence<Optimizer::kSlots.size()>());
  }
  return changed;
}

StepContext context_of(uint64_t generation) {
  return {.generation = generation,
          .generations = 10,
          .population = 128,
          .sum_squares = 40000,
          .unit = 0.01,
          .noise_rank = 3};
}

const std::vector<int8_t> start_weights(int8_t, size_t n, Random& random) {
  std::vector<int8_t> weights(n);
  for (int8_t& w : weights) w = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  return weights;
}
const std::vector<float> start_weights(float, size_t n, Random& random) {
  std::normal_distribution<float> normal;
  std::vector<float> weights(n);
  for (float& w : weights) w = normal(random);
  return weights;
}

template <typename Optimizer>
void expect_steps_of_each_element() {
  const ParameterLayout layout = layout_of(Optimizer::kMoves);
  const OptimizerType& type = optimizer_type(Optimizer::kName);
  for (const std::string& name : devices()) {
    SCOPED_TRACE(name);
    Random random(31);
    const std::unique_ptr<Device> device = device_on(name, {.threads = 2});
    const std::unique_ptr<Learner> learner =
        device->make_learner({.layout = layout, .noise_rank = 3, .optimizer = Optimizer::kName});
    std::vector<std::vector<std::byte>> arenas;
    for (size_t arena = 0; arena <= type.slots.size(); ++arena)
      arenas.push_back(bytes_of_arena(*learner, arena));
    ASSERT_EQ(arenas[0].size(), layout.bytes());
    for (size_t slot = 0; slot < type.slots.size(); ++slot) {
      EXPECT_EQ(arenas[1 + slot],
                std::vector<std::byte>(layout.trained() * bytes_of(type.slots[slot].element)));
    }
    EXPECT_THROW(learner->arena_bytes(arenas.size()), std::exception);
    for (const TensorSpec& tensor : layout.tensors()) {
      if (!tensor.is_trained()) {
        std::memset(arenas[0].data() + tensor.at, 0x5A, tensor.bytes());
        continue;
      }
      const auto weights = start_weights(ElementType<Optimizer::kMoves>{}, tensor.size(), random);
      std::memcpy(arenas[0].data() + tensor.at, weights.data(), tensor.bytes());
    }
    learner->write(0, arenas[0]);
    uint64_t version = learner->view().version;
    for (uint64_t generation = 0; generation < 4; ++generation) {
      const bool wide = generation % 2 == 1;
      const StepNumbers numbers = type.numbers({}, context_of(generation));
      std::vector<int64_t> z(layout.trained());
      for (int64_t& sum : z) sum = draw_sum(random, wide);
      give_sums(*learner, z, wide);
      // Two shards in turn are as good as the whole.
      for (size_t b = 0; b < learner->buckets().size(); ++b) {
        const size_t size = learner->buckets()[b].size, cut = generation == 2 ? size / 3 : size;
        learner->step_shard(b, {cut, size - cut}, numbers, wide);
        learner->step_shard(b, {0, cut}, numbers, wide);
      }
      EXPECT_EQ(learner->take_changed(), step_one_by_one<Optimizer>(layout, numbers, z, arenas));
      for (size_t arena = 0; arena < arenas.size(); ++arena) {
        EXPECT_TRUE(bytes_of_arena(*learner, arena) == arenas[arena])
            << "arena " << arena << ", generation " << generation;
      }
      EXPECT_NE(learner->view().version, version);
      version = learner->view().version;
    }
    // Slots come back as they were written.
    for (size_t arena = 1; arena < arenas.size(); ++arena) {
      std::vector<std::byte> turned = arenas[arena];
      std::ranges::reverse(turned);
      learner->write(arena, turned);
      EXPECT_TRUE(bytes_of_arena(*learner, arena) == turned);
    }
  }
}

TEST(Step, OfEachOptimizerIsItsOwnForEveryElement) {
  for (const OptimizerType& type : optimizer_types()) {
    SCOPED_TRACE(type.name);
    with_optimizer(type.name,
                   []<typename Optimizer>() { expect_steps_of_each_element<Optimizer>(); });
  }
}

// Running sums: beside what is trained, and nothing else moves.
TEST(Step, SumsAreAddedToAFrozenTensor) {
  ParameterLayout layout;
  layout.add("weights", Role::vector, Noise::full, Element::float32, 5, 1);
  layout.add("sums", Role::vector, Noise::none, Element::int64, 3, 1);
  layout.add("bias", Role::vector, Noise::full, Element::float32, 3, 1);
  for (const std::string& name : devices()) {
    SCOPED_TRACE(name);
    const std::unique_ptr<Device> device = device_on(name, {.threads = 1});
    const auto learner = device->make_learner({.layout = layout, .optimizer = "sgd"});
    std::vector<std::byte> arena(layout.bytes(), std::byte{0x11});
    learner->write(0, arena);
    const uint64_t version = learner->view().version;
    const std::vector<int64_t> first = {1, -2, int64_t{1} << 40}, second = {7, -7, -5};
    learner->add_to(1, first);
    learner->add_to(1, second);
    EXPECT_NE(learner->view().version, version);
    for (size_t i = 0; i < 3; ++i) {
      const int64_t sum = 0x1111111111111111 + first[i] + second[i];
      std::memcpy(arena.data() + layout[1].at + 8 * i, &sum, sizeof sum);
    }
    EXPECT_TRUE(bytes_of_arena(*learner, 0) == arena);
    EXPECT_THROW(learner->add_to(0, first), Error);
    EXPECT_THROW(learner->add_to(3, first), Error);
    EXPECT_THROW(learner->add_to(1, std::span(first).first(2)), Error);
  }
}

TEST(Step, OfARankAloneIsReconstructionAndStep) {
  for (const OptimizerType& type : optimizer_types())
    for (const std::string& name : devices()) {
      SCOPED_TRACE(testing::Message() << name << ", " << type.name);
      Random random(32);
      const std::unique_ptr<Device> device = device_on(name, {.threads = 2});
      const auto make = [&] {
        return device->make_learner({.layout = layout_of(type.moves),
                                     .seed = 3,
                                     .noise_rank = 3,
                                     .optimizer = std::string(type.name)});
      };
      const std::unique_ptr<Learner> alone = make(), other = make();
      for (uint32_t epoch = 0; epoch < 3; ++epoch) {
        std::vector<int16_t> d(17);
        for (int16_t& value : d)
          value = static_cast<int16_t>(static_cast<int>(random() % 101) - 50);
        const StepNumbers numbers = type.numbers({}, context_of(epoch));
        const uint64_t version = alone->view().version;
        alone->reconstruct_and_step({epoch, 4, d}, numbers);
        EXPECT_NE(alone->view().version, version);
        other->reconstruct({epoch, 4, d}, false, {.bucket_ready = [](size_t) {}, .poll = [] {}});
        for (size_t b = 0; b < other->buckets().size(); ++b) other->step(b, numbers, false);
        const uint64_t changed = alone->take_changed();
        EXPECT_EQ(changed, other->take_changed());
        EXPECT_GT(changed, 0u);
        for (size_t arena = 0; arena <= type.slots.size(); ++arena) {
          EXPECT_TRUE(bytes_of_arena(*alone, arena) == bytes_of_arena(*other, arena)) << arena;
        }
      }
    }
}

// One weight of a float model by a formula of the literature, in double.
struct Exact {
  double weight = 0, m = 0, v = 0;
  // Bounds of what fp32 may be away from weight and m: sizes that were added, times u.
  double weight_error = 0, m_sizes = 0;
};

constexpr double kU = 0x1p-24;  // unit roundoff of fp32

using Formula = void (*)(Exact&, double g, double t);

// theta += lr g: the product, which is one of doubles, and the sum are rounded.
void sgd(Exact& e, double g, double) {
  e.weight += 0.1 * g;
  e.weight_error += kU * (1.001 * std::abs(0.1 * g) + std::abs(e.weight));
}

// v = mu v + g, theta += lr v. Each turn rounds what v has summed up so far at most four times.
void momentum(Exact& e, double g, double t) {
  e.m = 0.9 * e.m + g;
  e.m_sizes = 0.9 * e.m_sizes + std::abs(g);
  e.weight += 0.1 * e.m;
  e.weight_error += kU * (0.1 * (4 * t + 4) * e.m_sizes + std::abs(e.weight));
}

// m and v likewise; v, a sum of squares, is off by the same share of itself, its root by half of that.
void adam_with(Exact& e, double g, double t, double decay) {
  e.m = 0.9 * e.m + 0.1 * g;
  e.m_sizes = 0.9 * e.m_sizes + 0.1 * std::abs(g);
  e.v = 0.999 * e.v + 0.001 * g * g;
  const double root = std::sqrt(e.v / (1 - std::pow(0.999, t))) + 1e-8;
  const double rate = 0.01 / (1 - std::pow(0.9, t));
  e.weight -= 0.01 * decay * e.weight;
  e.weight_error += kU * 3 * std::abs(e.weight);
  e.weight += rate * e.m / root;
  e.weight_error += kU * ((8 * t + 12) * rate * e.m_sizes / root + std::abs(e.weight));
}
void adam(Exact& e, double g, double t) { adam_with(e, g, t, 0); }
void adamw(Exact& e, double g, double t) { adam_with(e, g, t, 0.01); }

TEST(Step, OfFloatOptimizersIsTheFormulaOfTheLiterature) {
  const struct {
    const char* name;
    Formula formula;
  } cases[] = {{"sgd", sgd}, {"momentum", momentum}, {"adam", adam}, {"adamw", adamw}};
  ParameterLayout layout;
  layout.add("low_rank", Role::matrix, Noise::low_rank, Element::float32, 30, 11);
  layout.add("full", Role::matrix, Noise::full, Element::float32, 30, 11);
  for (const auto& [optimizer, formula] : cases)
    for (const std::string& name : devices()) {
      SCOPED_TRACE(testing::Message() << name << ", " << optimizer);
      const OptimizerType& type = optimizer_type(optimizer);
      Random random(33);
      const std::unique_ptr<Device> device = device_on(name);
      const std::unique_ptr<Learner> learner =
          device->make_learner({.layout = layout, .noise_rank = 3, .optimizer = optimizer});
      const std::vector<float> start = start_weights(0.0f, layout.size(), random);
      write_arena(*learner, 0, start);
      std::vector<Exact> exact(start.size());
      for (size_t e = 0; e < exact.size(); ++e) exact[e].weight = start[e];
      for (uint64_t generation = 0; generation < 50; ++generation) {
        const bool wide = generation % 5 == 4;
        std::vector<int64_t> z(exact.size());
        for (int64_t& sum : z) sum = draw_sum(random, wide);
        give_sums(*learner, z, wide);
        const StepNumbers numbers = type.numbers({}, context_of(generation));
        for (size_t b = 0; b < learner->buckets().size(); ++b) learner->step(b, numbers, wide);
        for (size_t e = 0; e < exact.size(); ++e) {
          const double of_noise = e < layout[1].offset ? 256 * std::sqrt(3.0) : 16;
          formula(exact[e], 0.01 / (128 * of_noise) * static_cast<double>(z[e]),
                  static_cast<double>(generation + 1));
        }
        const std::vector<float> weights = read_arena<float>(*learner, 0);
        double moved = 0;
        for (size_t e = 0; e < exact.size(); ++e) {
          ASSERT_NEAR(weights[e], exact[e].weight, exact[e].weight_error)
              << "element " << e << ", generation " << generation;
          moved = std::max(moved, std::abs(exact[e].weight - start[e]) / exact[e].weight_error);
        }
        // A step is far larger than the bound.
        EXPECT_GT(moved, 1000) << "generation " << generation;
      }
    }
}

}  // namespace
}  // namespace eggroll
