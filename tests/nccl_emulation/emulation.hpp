// What a test wants of the emulated NCCL on this rank, and what it has seen of its caller.
#pragma once

#include <atomic>

#include "tests/nccl_emulation/nccl.h"

namespace eggroll::test {

struct NcclBehaviour {
  int polls_until_ready = 3;               // in which NCCL is "in progress" with what it was asked
  int polls_until_passed = 3;              // of an event whose operation is done
  int delay_ms = 0;                        // before an operation is begun
  ncclResult_t start = ncclSuccess;        // of ncclCommInitRankConfig
  ncclResult_t after_start = ncclSuccess;  // found while the ranks look for each other
  bool starts_for_ever = false;
  ncclResult_t call = ncclSuccess;       // of ncclAllReduce and the like
  ncclResult_t operation = ncclSuccess;  // found while it runs; it does nothing then
  bool runs_for_ever = false;            // operations do nothing and never end
  cudaError_t event = cudaSuccess;       // of cudaEventQuery, when the operation is done
  bool aborts_for_ever = false;          // ... until the test lets it
  bool finalizes_for_ever = false;
  bool destroys_for_ever = false;  // ... until the test lets it
  int version = 22809;
};

struct NcclSeen {
  std::atomic<int> misuses{0};  // what the real one forbids, or what gives wrong results with it
  std::atomic<int> destroys_begun{0}, destroyed{0};
  std::atomic<int> aborts_begun{0}, aborts_done{0};
  int live_events = 0, live_streams = 0;
};

extern NcclBehaviour nccl_behaviour;
extern NcclSeen nccl_seen;

}  // namespace eggroll::test
