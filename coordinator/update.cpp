#include "coordinator/update.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "common/noise.hpp"
#include "common/stopwatch.hpp"

namespace eggroll {
namespace {

using Pending = std::unique_ptr<Collectives::Pending>;  // nothing: nothing to wait for

// The sum over ranks of a bucket, in the memory where it is made if it can meet others there.
Pending start_sum(Backend& backend, const Meeting& meeting, size_t bucket, bool wide) {
  if (meeting.group.size() == 1) return nullptr;
  if (meeting.devices)
    if (const auto sums = backend.device_partial_update(bucket, wide))
      return meeting.devices->start_sum(*sums);
  return wide ? meeting.group.start_all_reduce_sum(backend.wide_partial_update(bucket))
              : meeting.group.start_all_reduce_sum(backend.partial_update(bucket));
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

// The usual case: one bucket is reduced while the next is made, and stepped while the next is
// reduced.
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
  for (size_t bucket = 0; bucket < pending.size(); ++bucket) {
    finish(pending[bucket]);
    report.all_reduce_s += watch.lap_s();
    backend.step(bucket, step_rule(summary), /*wide=*/false);
    report.step_s += watch.lap_s();
  }
  report.changed = backend.take_changed();
  report.step_s += watch.lap_s();
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
  for (size_t bucket = 0; bucket < buckets; ++bucket) {
    finish(pending[bucket]);
    report.all_reduce_s += watch.lap_s();
    backend.step(bucket, step_rule(summary), is_wide(bucket));
    report.step_s += watch.lap_s();
  }
  report.changed = backend.take_changed();
  report.step_s += watch.lap_s();
  return report;
}

}  // namespace

UpdateReport apply_update(Backend& backend, const Meeting& meeting, uint32_t noise_epoch,
                          int noise_rank, const ShapedSummary& summary, std::span<const int8_t> d) {
  if (!fits_32_bits(summary, noise_rank))
    return apply_wide(backend, meeting, noise_epoch, summary, d);
  if (meeting.group.size() == 1) return apply_alone(backend, noise_epoch, summary, d);
  return apply_narrow(backend, meeting, noise_epoch, summary, d);
}

}  // namespace eggroll
