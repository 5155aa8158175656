#include "coordinator/update.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "common/noise.hpp"
#include "common/partition.hpp"
#include "common/stopwatch.hpp"

namespace eggroll {
namespace {

using Pending = std::unique_ptr<Collectives::Pending>;  // nothing: nothing to wait for

bool is_sharded(const Meeting& meeting) {
  return meeting.step == StepMode::sharded && meeting.group.size() > 1;
}

// What this rank steps of a bucket.
Shard own_shard(const Backend& backend, const Meeting& meeting, size_t bucket) {
  const size_t size = backend.buckets()[bucket].size;
  if (!is_sharded(meeting)) return {0, size};
  return shard_of_rank(size, meeting.group.rank(), meeting.group.size());
}

// The sum over ranks of what they step of a bucket, in the memory where it is made if it can meet
// others there.
Pending start_sum(Backend& backend, const Meeting& meeting, size_t bucket, bool wide) {
  if (meeting.group.size() == 1) return nullptr;
  const auto start = [&](auto& where, const auto& sums) {
    return is_sharded(meeting) ? where.start_reduce_scatter_sum(sums)
                               : where.start_all_reduce_sum(sums);
  };
  if (meeting.devices)
    if (const auto sums = backend.device_partial_update(bucket, wide))
      return start(*meeting.devices, *sums);
  return wide ? start(meeting.group, backend.wide_partial_update(bucket))
              : start(meeting.group, backend.partial_update(bucket));
}

// What each rank has stepped of a bucket, to all.
Pending start_gather(Backend& backend, const Meeting& meeting, size_t bucket) {
  if (meeting.devices)
    if (const auto parameters = backend.device_parameters(bucket))
      return meeting.devices->start_all_gather(*parameters);
  return meeting.group.start_all_gather(
      backend.give_parameters(bucket, own_shard(backend, meeting, bucket)));
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

StepRule step_rule(const ShapedSummary& summary) {
  return {.matrix_threshold = summary.matrix_threshold,
          .vector_threshold = summary.vector_threshold};
}

// Steps every bucket when its sum is there; others are still under way meanwhile.
void step_buckets(Backend& backend, const Meeting& meeting, const StepRule& rule,
                  std::span<const Pending> sums, const std::function<bool(size_t)>& is_wide,
                  UpdateReport& report) {
  Stopwatch watch;
  std::vector<Pending> gathers;
  for (size_t bucket = 0; bucket < sums.size(); ++bucket) {
    finish(sums[bucket]);
    report.all_reduce_s += watch.lap_s();
    backend.step_shard(bucket, own_shard(backend, meeting, bucket), rule, is_wide(bucket));
    if (is_sharded(meeting)) gathers.push_back(start_gather(backend, meeting, bucket));
    report.step_s += watch.lap_s();
  }
  for (size_t bucket = 0; bucket < gathers.size(); ++bucket) {
    finish(gathers[bucket]);
    backend.take_parameters(bucket);
  }
  report.all_reduce_s += watch.lap_s();
  auto changed = static_cast<int64_t>(backend.take_changed());
  report.step_s += watch.lap_s();
  if (is_sharded(meeting))
    Collectives::wait(*meeting.group.start_all_reduce_sum(std::span(&changed, 1)));
  report.changed = static_cast<uint64_t>(changed);
  report.all_reduce_s += watch.lap_s();
}

// A rank that is alone has nobody to wait for between its sums and the step.
UpdateReport apply_alone(Backend& backend, uint32_t noise_epoch, const ShapedSummary& summary,
                         std::span<const int8_t> d) {
  UpdateReport report;
  Stopwatch watch;
  backend.reconstruct_and_step(noise_epoch, d, step_rule(summary));
  report.changed = backend.take_changed();
  report.reconstruct_s = watch.lap_s();
  return report;
}

// The usual case: one bucket is added up while the next is made, and stepped while the next is
// added up.
UpdateReport apply_narrow(Backend& backend, const Meeting& meeting, uint32_t noise_epoch,
                          const ShapedSummary& summary, std::span<const int8_t> d) {
  UpdateReport report;
  Stopwatch watch;
  std::vector<Pending> pending(backend.buckets().size());
  size_t oldest = 0, started = 0;
  double messages_s = 0;  // spent on messages while reconstructing
  const auto poll = [&] {
    Stopwatch moving;
    while (oldest < started && is_complete(pending[oldest])) ++oldest;
    messages_s += moving.elapsed_s();
  };
  const auto start = [&](size_t bucket) {
    Stopwatch starting;
    pending[bucket] = start_sum(backend, meeting, bucket, /*wide=*/false);
    started = bucket + 1;
    messages_s += starting.elapsed_s();
  };
  backend.reconstruct(noise_epoch, d, /*wide=*/false, {.bucket_ready = start, .poll = poll});
  report.reconstruct_s = watch.lap_s() - messages_s;
  report.all_reduce_s = messages_s;
  step_buckets(
      backend, meeting, step_rule(summary), pending, [](size_t) { return false; }, report);
  return report;
}

// Huge populations: partial sums in 64 bits. They still travel as 32 bits where the largest
// elements, summed over ranks, prove that the total fits.
UpdateReport apply_wide(Backend& backend, const Meeting& meeting, uint32_t noise_epoch,
                        const ShapedSummary& summary, std::span<const int8_t> d) {
  UpdateReport report;
  Stopwatch watch;
  const size_t buckets = backend.buckets().size();
  backend.reconstruct(noise_epoch, d, /*wide=*/true,
                      {.bucket_ready = [](size_t) {}, .poll = [] {}});
  report.reconstruct_s = watch.lap_s();
  std::vector<int64_t> largest(buckets, 0);
  for (size_t bucket = 0; bucket < buckets; ++bucket)
    largest[bucket] = backend.largest_magnitude(bucket);
  Collectives::wait(*meeting.group.start_all_reduce_sum(std::span(largest)));
  std::vector<Pending> pending(buckets);
  const auto is_wide = [&](size_t bucket) {
    return largest[bucket] > std::numeric_limits<int32_t>::max();
  };
  for (size_t bucket = 0; bucket < buckets; ++bucket) {
    if (is_wide(bucket))
      report.sums_travel_wide = true;
    else
      backend.narrow(bucket);
    pending[bucket] = start_sum(backend, meeting, bucket, is_wide(bucket));
  }
  report.all_reduce_s = watch.lap_s();
  step_buckets(backend, meeting, step_rule(summary), pending, is_wide, report);
  return report;
}

}  // namespace

UpdateReport apply_update(Backend& backend, const Meeting& meeting, uint32_t noise_epoch,
                          int noise_rank, const ShapedSummary& summary, std::span<const int8_t> d) {
  backend.take_changed();  // of an update that a lost rank has broken off
  if (!fits_32_bits(summary, noise_rank))
    return apply_wide(backend, meeting, noise_epoch, summary, d);
  if (meeting.group.size() == 1) return apply_alone(backend, noise_epoch, summary, d);
  return apply_narrow(backend, meeting, noise_epoch, summary, d);
}

void gather_accumulators(Backend& backend, Collectives& group) {
  std::vector<int32_t> accumulators(backend.layout().size());
  backend.read_accumulators(accumulators);
  for (const UpdateBucket& bucket : backend.buckets())
    Collectives::wait(
        *group.start_all_gather(std::span(accumulators).subspan(bucket.offset, bucket.size)));
  backend.write_accumulators(accumulators);
}

}  // namespace eggroll
