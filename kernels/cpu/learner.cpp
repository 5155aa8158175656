#include "kernels/cpu/learner.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <type_traits>

#include "common/check.hpp"
#include "kernels/optimizers.hpp"
#include "kernels/update_plan.hpp"

namespace eggroll::cpu {
namespace {

// Any optimiser on n weights, each with its slots.
template <typename Optimizer, typename Sum, typename Weight, typename... Slots>
uint64_t step_each(const Sum* z, const typename Optimizer::Numbers& numbers, size_t n,
                   Weight* __restrict weights, Slots* __restrict... slots) {
  uint64_t changed = 0;
  for (size_t i = 0; i < n; ++i) changed += Optimizer::step(z[i], numbers, weights[i], slots[i]...);
  return changed;
}

}  // namespace

CpuLearner::CpuLearner(CpuDevice& device, const LearnerSettings& settings)
    : settings_((check(settings), settings)),
      isa_(device.isa()),
      team_(device.team()),
      buckets_(plan_update(settings.layout)),
      z_(settings.layout.trained()) {
  arenas_.emplace_back(layout().bytes());
  for (const Slot& slot : optimizer_type(settings.optimizer).slots)
    arenas_.emplace_back(layout().trained() * bytes_of(slot.element));
  with_optimizer(settings.optimizer,
                 [this]<typename Optimizer>() { step_part_ = &CpuLearner::step_by<Optimizer>; });
  plan_units();
}

size_t CpuLearner::arena_bytes(size_t arena) const {
  require(arena < arenas_.size(), "an arena of this optimiser");
  return arenas_[arena].size();
}

void CpuLearner::write(size_t arena, std::span<const std::byte> values) {
  require(values.size() == arena_bytes(arena), "a whole arena of this layout");
  std::ranges::copy(values, arenas_[arena].data());
  if (arena == 0) ++version_;
}

void CpuLearner::read(size_t arena, std::span<std::byte> values) {
  require(values.size() == arena_bytes(arena), "a whole arena of this layout");
  std::ranges::copy(arenas_[arena].span(), values.data());
}

void CpuLearner::add_to(size_t tensor, std::span<const int64_t> values) {
  check_addition(layout(), tensor, values);
  auto* sums = reinterpret_cast<int64_t*>(arenas_[0].data() + layout()[tensor].at);
  for (size_t i = 0; i < values.size(); ++i) sums[i] += values[i];
  ++version_;
}

// The loops of the integer rules are the instruction set's own.
template <typename Optimizer>
uint64_t CpuLearner::step_by(UpdatePart part, Noise noise, const StepNumbers& all_numbers,
                             bool wide) {
  const auto numbers = all_numbers.get<typename Optimizer::Numbers>(noise);
  const int32_t* z = z_.data() + part.offset;
  using Weight = ElementType<Optimizer::kMoves>;
  auto* weights = reinterpret_cast<Weight*>(arenas_[0].data() + part.at);
  return [&]<size_t... I>(std::index_sequence<I...>) {
    const auto step = [&](auto*... slots) {
      if (wide)
        return step_each<Optimizer>(wide_z_.data() + part.offset, numbers, part.size, weights,
                                    slots...);
      if constexpr (std::is_same_v<Optimizer, Threshold>)
        return isa_.step_threshold(z, numbers.threshold, part.size, weights);
      else if constexpr (std::is_same_v<Optimizer, SigmaDelta>)
        return isa_.step_sigma_delta(z, numbers.threshold, part.size, slots..., weights);
      else
        return step_each<Optimizer>(z, numbers, part.size, weights, slots...);
    };
    return step(
        reinterpret_cast<ElementType<Optimizer::kSlots[I].element>*>(arenas_[1 + I].data()) +
        part.offset...);
  }
  (std::make_index_sequence<Optimizer::kSlots.size()>());
}

void CpuLearner::step_shard(size_t bucket, Shard shard, const StepNumbers& numbers, bool wide) {
  const UpdateBucket& whole = buckets_[bucket];
  require(shard.first + shard.count <= whole.size, "a part of the bucket");
  ++version_;
  const auto step = [&](size_t first, size_t size) {
    return (this->*step_part_)(
        {whole.offset + first, whole.at + first * bytes_of(whole.element), size}, whole.noise,
        numbers, wide);
  };
  constexpr size_t kPiece = 65536;  // below this, waking the team costs more than the work
  if (shard.count <= kPiece) {
    changed_ += step(shard.first, shard.count);
    return;
  }
  std::atomic<uint64_t> changed{0};
  team_.for_each((shard.count + kPiece - 1) / kPiece, [&](int, uint64_t piece) {
    const size_t first = piece * kPiece;
    changed += step(shard.first + first, std::min(kPiece, shard.count - first));
  });
  changed_ += changed;
}

std::span<std::byte> CpuLearner::give_parameters(size_t bucket, Shard) {
  const UpdateBucket& whole = buckets_[bucket];
  return arenas_[0].span().subspan(whole.at, whole.size * bytes_of(whole.element));
}

// A unit is stepped by the thread that made it, while its sums are in the nearer caches.
void CpuLearner::reconstruct_and_step(const Utilities& utilities, const StepNumbers& numbers) {
  const ActivePairs active(utilities);
  ++version_;
  std::atomic<uint64_t> changed{0};
  team_.for_each(units_.size(), [&](int thread, uint64_t u) {
    const UpdateUnit& unit = units_[u];
    make_unit(workspaces_[thread], unit, utilities.noise_epoch, active);
    changed += (this->*step_part_)(part_of(unit), buckets_[unit.bucket].noise, numbers,
                                   /*wide=*/false);
  });
  changed_ += changed;
}

}  // namespace eggroll::cpu
