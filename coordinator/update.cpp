#include "coordinator/update.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "common/check.hpp"
#include "common/noise.hpp"
#include "common/partition.hpp"
#include "common/stopwatch.hpp"

namespace eggroll {
namespace {

using Pending = std::unique_ptr<Collectives::Pending>;  // nothing: nothing to wait for

bool is_sharded(const Reduction& reduction) {
  return reduction.step == StepMode::sharded && reduction.group.size() > 1;
}

// What this rank steps of a bucket.
Shard own_shard(const Learner& learner, const Reduction& reduction, size_t bucket) {
  const size_t size = learner.buckets()[bucket].size;
  if (!is_sharded(reduction)) return {0, size};
  return shard_of_rank(size, reduction.group.rank(), reduction.group.size());
}

// The sum over ranks of what they step of a bucket, in the memory where it is made if it can meet
// others there.
Pending start_sum(Learner& learner, const Reduction& reduction, size_t bucket, bool wide) {
  if (reduction.group.size() == 1) return nullptr;
  const auto start = [&](auto& where, const auto& sums) {
    return is_sharded(reduction) ? where.start_reduce_scatter_sum(sums)
                                 : where.start_all_reduce_sum(sums);
  };
  if (reduction.devices)
    if (const auto sums = learner.device_partial_update(bucket, wide))
      return start(*reduction.devices, *sums);
  return wide ? start(reduction.group, learner.wide_partial_update(bucket))
              : start(reduction.group, learner.partial_update(bucket));
}

// What each rank has stepped of a bucket, to all.
Pending start_gather(Learner& learner, const Reduction& reduction, size_t bucket) {
  if (reduction.devices)
    if (const auto parameters = learner.device_parameters(bucket))
      return reduction.devices->start_all_gather(*parameters);
  const std::span<std::byte> whole =
      learner.give_parameters(bucket, own_shard(learner, reduction, bucket));
  const auto elements = [&]<typename T>(T*) {
    return std::span(reinterpret_cast<T*>(whole.data()), whole.size() / sizeof(T));
  };
  // Four bytes travel as what they are, whatever they mean.
  return bytes_of(learner.buckets()[bucket].element) == 1
             ? reduction.group.start_all_gather(elements(static_cast<int8_t*>(nullptr)))
             : reduction.group.start_all_gather(elements(static_cast<int32_t*>(nullptr)));
}

bool is_complete(const Pending& pending) { return !pending || pending->test(); }

void finish(const Pending& pending) {
  if (pending) Collectives::wait(*pending);
}

// |Z| <= noise_rank * 63^2 * sum_j |d_j| everywhere, and so is every partial sum.
bool fits_32_bits(const ShapedSummary& summary, int noise_rank) {
  return summary.sum_magnitudes * static_cast<uint64_t>(noise_rank) * kNoiseMax * kNoiseMax <=
         static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
}

// Steps every bucket when its sum is there; others are still under way meanwhile.
void step_buckets(Learner& learner, const Reduction& reduction, const StepNumbers& numbers,
                  std::span<const Pending> sums, const std::function<bool(size_t)>& is_wide,
                  UpdateReport& report) {
  Stopwatch watch;
  std::vector<Pending> gathers;
  for (size_t bucket = 0; bucket < sums.size(); ++bucket) {
    finish(sums[bucket]);
    report.all_reduce_s += watch.lap_s();
    learner.step_shard(bucket, own_shard(learner, reduction, bucket), numbers, is_wide(bucket));
    if (is_sharded(reduction)) gathers.push_back(start_gather(learner, reduction, bucket));
    report.step_s += watch.lap_s();
  }
  for (size_t bucket = 0; bucket < gathers.size(); ++bucket) {
    finish(gathers[bucket]);
    learner.take_parameters(bucket);
  }
  report.all_reduce_s += watch.lap_s();
  auto changed = static_cast<int64_t>(learner.take_changed());
  report.step_s += watch.lap_s();
  if (is_sharded(reduction))
    Collectives::wait(*reduction.group.start_all_reduce_sum(std::span(&changed, 1)));
  report.changed = static_cast<uint64_t>(changed);
  report.all_reduce_s += watch.lap_s();
}

// A rank that is alone has nobody to wait for between its sums and the step.
UpdateReport apply_alone(Learner& learner, const ShapedSummary& summary,
                         const Utilities& utilities) {
  UpdateReport report;
  Stopwatch watch;
  learner.reconstruct_and_step(utilities, summary.numbers);
  report.changed = learner.take_changed();
  report.reconstruct_s = watch.lap_s();
  return report;
}

// The usual case: one bucket is added up while the next is made, and stepped while the next is
// added up.
UpdateReport apply_narrow(Learner& learner, const Reduction& reduction,
                          const ShapedSummary& summary, const Utilities& utilities) {
  UpdateReport report;
  Stopwatch watch;
  std::vector<Pending> pending(learner.buckets().size());
  size_t oldest = 0, started = 0;
  double messages_s = 0;  // spent on messages while reconstructing
  const auto poll = [&] {
    Stopwatch moving;
    while (oldest < started && is_complete(pending[oldest])) ++oldest;
    messages_s += moving.elapsed_s();
  };
  const auto start = [&](size_t bucket) {
    Stopwatch starting;
    pending[bucket] = start_sum(learner, reduction, bucket, /*wide=*/false);
    started = bucket + 1;
    messages_s += starting.elapsed_s();
  };
  learner.reconstruct(utilities, /*wide=*/false, {.bucket_ready = start, .poll = poll});
  report.reconstruct_s = watch.lap_s() - messages_s;
  report.all_reduce_s = messages_s;
  step_buckets(
      learner, reduction, summary.numbers, pending, [](size_t) { return false; }, report);
  return report;
}

// Huge populations: partial sums in 64 bits. They still travel as 32 bits where the largest
// elements, summed over ranks, prove that the total fits.
UpdateReport apply_wide(Learner& learner, const Reduction& reduction, const ShapedSummary& summary,
                        const Utilities& utilities) {
  UpdateReport report;
  Stopwatch watch;
  const size_t buckets = learner.buckets().size();
  learner.reconstruct(utilities, /*wide=*/true, {.bucket_ready = [](size_t) {}, .poll = [] {}});
  report.reconstruct_s = watch.lap_s();
  std::vector<int64_t> largest(buckets, 0);
  for (size_t bucket = 0; bucket < buckets; ++bucket)
    largest[bucket] = learner.largest_magnitude(bucket);
  Collectives::wait(*reduction.group.start_all_reduce_sum(std::span(largest)));
  std::vector<Pending> pending(buckets);
  const auto is_wide = [&](size_t bucket) {
    return largest[bucket] > std::numeric_limits<int32_t>::max();
  };
  for (size_t bucket = 0; bucket < buckets; ++bucket) {
    if (is_wide(bucket))
      report.sums_travel_wide = true;
    else
      learner.narrow(bucket);
    pending[bucket] = start_sum(learner, reduction, bucket, is_wide(bucket));
  }
  report.all_reduce_s = watch.lap_s();
  step_buckets(learner, reduction, summary.numbers, pending, is_wide, report);
  return report;
}

}  // namespace

StepContext step_context(const RunConfig& config, uint64_t generation, uint64_t sum_squares,
                         double unit) {
  return {.generation = generation,
          .generations = config.generations,
          .population = config.population,
          .sum_squares = sum_squares,
          .unit = unit,
          .noise_rank = config.noise_rank};
}

UpdateReport apply_update(Learner& learner, const Reduction& reduction, int noise_rank,
                          const ShapedSummary& summary, const Utilities& utilities) {
  learner.take_changed();  // of an update that a lost rank has broken off
  if (!fits_32_bits(summary, noise_rank)) return apply_wide(learner, reduction, summary, utilities);
  if (reduction.group.size() == 1) return apply_alone(learner, summary, utilities);
  return apply_narrow(learner, reduction, summary, utilities);
}

void gather_slots(Learner& learner, size_t slots, Collectives& group) {
  std::vector<int32_t> values(slots == 0 ? 0 : learner.layout().trained());
  for (size_t slot = 1; slot <= slots; ++slot) {
    require(learner.arena_bytes(slot) == values.size() * sizeof(int32_t), "slots of four bytes");
    learner.read(slot, bytes_of(values));
    for (const UpdateBucket& bucket : learner.buckets())
      Collectives::wait(
          *group.start_all_gather(std::span(values).subspan(bucket.offset, bucket.size)));
    learner.write(slot, bytes_of(std::as_const(values)));
  }
}

}  // namespace eggroll
