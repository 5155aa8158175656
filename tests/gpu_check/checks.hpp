// Checks of the CUDA twin against the CPU twin and the oracle, with inputs drawn anew each time,
// for machines that have a compiler and a GPU and nothing else: no test framework, no MPI. The CPU
// twin is itself held to the oracle by tests/kernels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eggroll::gpu_check {

class Checks {
 public:
  // Says what failed, and counts.
  void expect(bool holds, const std::string& what);
  // What the next checks are about; printed with a failure.
  void about(std::string what) { about_ = std::move(what); }
  const std::string& about() const { return about_; }
  int done() const { return done_; }
  int failed() const { return failed_; }

 private:
  std::string about_;
  int done_ = 0, failed_ = 0;
};

struct Options {
  uint64_t seed = 0;
  bool quick = false;  // few and small cases, for an emulated device or a memory checker
};

// Random runs of both twins of the integer model side by side: scores, carried states, Z, parameters,
// accumulators, streams, next bytes.
void check_runs(const Options& options, Checks& checks);
// The same with populations for which a real device takes its largest blocks. Not for `quick`.
void check_large_blocks(const Options& options, Checks& checks);
// Fifty generations of one larger model: the same parameters to the last bit.
void check_long_run(const Options& options, Checks& checks);
// Learners of any layout, every optimiser, utilities up to the largest: Z, parameters, slots.
void check_learners(const Options& options, Checks& checks);
// Tiles handed out in any order, and work that is given up.
void check_tiles(const Options& options, Checks& checks);
// Work that is given up half way: it ends soon after, and nothing of it stays. Not for `quick`,
// where a launch may be over before anybody can change his mind.
void check_giving_up(const Options& options, Checks& checks);
// The perturbed linear layer in bf16 within its bound of the oracle in double precision.
void check_linear(const Options& options, Checks& checks);

}  // namespace eggroll::gpu_check
