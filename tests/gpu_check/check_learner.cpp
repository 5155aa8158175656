// The learner, whatever is learnt: layouts of any widths and noise, every optimiser, utilities
// up to the largest.
#include <algorithm>
#include <cstring>
#include <span>

#include "kernels/optimizers.hpp"
#include "tests/gpu_check/checks.hpp"
#include "tests/gpu_check/twins.hpp"

namespace eggroll::gpu_check {
namespace {

using oracle::Random;

// Every noise, widths that are multiples of nothing, a tensor that is not trained among the others.
ParameterLayout odd_layout(Element element, Random& random) {
  const auto width = [&](uint32_t most) { return static_cast<uint32_t>(1 + random() % most); };
  ParameterLayout layout;
  layout.add("in", Role::matrix, Noise::low_rank, element, width(200), width(90));
  layout.add("frozen", Role::matrix, Noise::none, element, width(9), width(9));
  layout.add("square", Role::matrix, Noise::low_rank, element, 64, 64);
  layout.add("bias", Role::vector, Noise::product, element, width(300), 1);
  layout.add("scale", Role::vector, Noise::full, element, width(300), 1);
  layout.add("table", Role::embedding, Noise::full, element, width(200), width(90));
  layout.add("row", Role::matrix, Noise::low_rank, element, 1, width(300));
  return layout;
}

// Bytes of any values, or of real numbers of usual sizes.
std::vector<std::byte> start_of(const ParameterLayout& layout, Random& random) {
  std::vector<std::byte> values(layout.bytes());
  for (const TensorSpec& tensor : layout.tensors())
    for (size_t e = 0; e < tensor.size(); ++e) {
      std::byte* const at = values.data() + tensor.at + e * bytes_of(tensor.element);
      if (tensor.element == Element::int8) {
        *at = static_cast<std::byte>(static_cast<int>(random() % 255) - 127);
        continue;
      }
      const float value = static_cast<float>(static_cast<int>(random() % 4001) - 2000) / 700;
      std::memcpy(at, &value, sizeof value);
    }
  return values;
}

void check_optimizer(const OptimizerType& type, bool quick, Random& random, Checks& checks) {
  LearnerSettings settings = {.layout = odd_layout(type.moves, random),
                              .seed = random(),
                              .noise_rank = static_cast<int>(1 + random() % (quick ? 3 : 20)),
                              .optimizer = std::string(type.name)};
  checks.about("layout of " + std::to_string(settings.layout.size()) + ", r " +
               std::to_string(settings.noise_rank) + ", " + settings.optimizer + ", seed " +
               std::to_string(settings.seed));
  Twins twins(settings, quick ? 1 : 8);
  const std::vector<std::byte> start = start_of(settings.layout, random);
  twins.both([&](Engines& twin) { twin.learner->write(0, start); });
  const int generations = 3;
  for (int g = 0; g < generations; ++g) {
    // As the integer rules have it, as many levels, and the largest there are.
    const int largest[] = {2, 40, kLargestUtility};
    std::vector<int16_t> d(1 + random() % (quick ? 40 : 1000));
    uint64_t sum_squares = 0;
    for (int16_t& each : d) {
      each = static_cast<int16_t>(static_cast<int>(random() % (2u * largest[g] + 1)) - largest[g]);
      sum_squares += static_cast<uint64_t>(each * each);
    }
    d[0] = static_cast<int16_t>(-largest[g]);
    const StepNumbers numbers = type.numbers({}, {.generation = static_cast<uint64_t>(g),
                                                  .generations = 10,
                                                  .population = 2 * d.size(),
                                                  .sum_squares = sum_squares + 1,
                                                  .unit = 1.0 / largest[g],
                                                  .noise_rank = settings.noise_rank});
    check_update(twins, {static_cast<uint32_t>(random()), random() % 1000, d}, g != 1,
                 random() % 2 == 0, numbers, checks);
    check_arenas(twins, g, checks);
  }
  checks.expect(twins.cuda.arena<std::byte>(0) != start, "something has moved");
}

}  // namespace

void check_update(Twins& twins, const Utilities& utilities, bool wide, bool through_host,
                  const StepNumbers& numbers, Checks& checks) {
  twins.both([&](Engines& twin) { twin.reconstruct(utilities, wide); });
  Learner& cpu = *twins.cpu.learner;
  Learner& cuda = *twins.cuda.learner;
  const auto step = [&](size_t b, Shard shard, bool by_wide) {
    cpu.step_shard(b, shard, numbers, by_wide);
    cuda.step_shard(b, shard, numbers, by_wide);
  };
  checks.expect(cpu.buckets().size() == cuda.buckets().size(), "the same buckets");
  for (size_t b = 0; b < cpu.buckets().size(); ++b) {
    const std::string bucket = " of bucket " + std::to_string(b);
    if (wide) {
      checks.expect(cpu.largest_magnitude(b) == cuda.largest_magnitude(b), "largest |Z|" + bucket);
      checks.expect(std::ranges::equal(cpu.wide_partial_update(b), cuda.wide_partial_update(b)),
                    "Z" + bucket + " in 64 bits");
      cpu.narrow(b);
      cuda.narrow(b);
    }
    checks.expect(std::ranges::equal(cpu.partial_update(b), cuda.partial_update(b)), "Z" + bucket);
    if (!through_host) cuda.device_partial_update(b, wide);
    // As the first of two ranks, and as the other; parameters are exchanged in between.
    const size_t size = cpu.buckets()[b].size, bytes = bytes_of(cpu.buckets()[b].element);
    for (int rank : {0, 1}) {
      const Shard shard = shard_of_rank(size, rank, 2);
      step(b, shard, wide && !through_host);
      const std::span<std::byte> x = cpu.give_parameters(b, shard);
      if (!through_host) {
        const std::optional<DeviceParameters> there = cuda.device_parameters(b);
        checks.expect(there && there->size == size && bytes_of(there->element) == bytes,
                      "elements" + bucket);
      }
      const std::span<std::byte> y = cuda.give_parameters(b, {0, size});
      checks.expect(std::ranges::equal(x, y), "parameters" + bucket);
      cpu.take_parameters(b);
      cuda.take_parameters(b);
    }
  }
  checks.expect(cpu.take_changed() == cuda.take_changed(), "how many parameters changed");
}

void check_arenas(Twins& twins, int generation, Checks& checks) {
  const std::string after = " after generation " + std::to_string(generation);
  const OptimizerType& type = optimizer_type(twins.optimizer);
  checks.expect(twins.cuda.arena<std::byte>(0) == twins.cpu.arena<std::byte>(0),
                "parameters" + after);
  for (size_t slot = 0; slot < type.slots.size(); ++slot)
    checks.expect(twins.cuda.arena<std::byte>(1 + slot) == twins.cpu.arena<std::byte>(1 + slot),
                  type.slots[slot].name + after);
}

void check_learners(const Options& options, Checks& checks) {
  Random random(options.seed + 6);
  for (int turn = 0; turn < (options.quick ? 1 : 5); ++turn)
    for (const OptimizerType& type : optimizer_types())
      check_optimizer(type, options.quick, random, checks);
}

}  // namespace eggroll::gpu_check
