#include "tests/nccl_emulation/emulation.hpp"

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "common/messages/mpi_calls.hpp"

using eggroll::test::nccl_behaviour;
using eggroll::test::nccl_seen;

namespace eggroll::test {
NcclBehaviour nccl_behaviour;
NcclSeen nccl_seen;
}  // namespace eggroll::test

namespace {

using Clock = std::chrono::steady_clock;

thread_local int current_device = 0;

// What one call asks for. MPI forbids what NCCL allows, that a part of what is sent is received
// into, so what is sent may be copied when it is begun.
struct Part {
  std::function<void(Part&)> begin;
  std::vector<std::byte> copy;
  MPI_Request request = MPI_REQUEST_NULL;
};

struct Operation {
  std::vector<std::unique_ptr<Part>> parts;
  bool is_begun = false;
  Clock::time_point due = Clock::now() + std::chrono::milliseconds(nccl_behaviour.delay_ms);

  void begin() {
    is_begun = true;
    if (nccl_behaviour.runs_for_ever) return;
    for (const auto& part : parts) part->begin(*part);
  }
  bool has_passed() {
    if (!is_begun || nccl_behaviour.runs_for_ever) return false;
    for (const auto& part : parts) {
      int done = 0;
      MPI_Test(&part->request, &done, MPI_STATUS_IGNORE);
      if (!done) return false;
    }
    return true;
  }
};

void misuse(const char* what) {
  std::fprintf(stderr, "misuse of NCCL: %s\n", what);
  ++nccl_seen.misuses;
}

MPI_Comm between_ranks() {
  static const MPI_Comm duplicate = [] {
    MPI_Comm made = MPI_COMM_NULL;
    MPI_Comm_dup(MPI_COMM_WORLD, &made);
    return made;
  }();
  return duplicate;
}

}  // namespace

struct EmulatedStream {
  std::shared_ptr<Operation> last;  // that has been put on it
};
struct EmulatedEvent {
  std::shared_ptr<Operation> after;
  int polls = 0;
  bool is_recorded = false;
};
struct EmulatedCommunicator {
  int ranks = 0, rank = 0, device = 0;
  int polls = 0;  // since what it was last asked
  bool is_starting = true, is_finalizing = false;
  std::shared_ptr<Operation> launching;
  EmulatedStream* stream = nullptr;
};

const char* cudaGetErrorString(cudaError_t code) {
  return code == cudaSuccess              ? "no error"
         : code == cudaErrorInvalidDevice ? "invalid device ordinal"
                                          : "unspecified launch failure";
}
cudaError_t cudaSetDevice(int device) {
  if (device >= 4) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  ++nccl_seen.live_streams;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  --nccl_seen.live_streams;
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  ++nccl_seen.live_events;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  --nccl_seen.live_events;
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->after = stream->last;
  event->is_recorded = true;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (!event->is_recorded) misuse("an event that was never recorded has passed");
  if (event->after && !event->after->has_passed()) return cudaErrorNotReady;
  if (nccl_behaviour.event != cudaSuccess) return nccl_behaviour.event;
  return ++event->polls > nccl_behaviour.polls_until_passed ? cudaSuccess : cudaErrorNotReady;
}

ncclResult_t ncclGetVersion(int* version) {
  *version = nccl_behaviour.version;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t code) {
  switch (code) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "internal error";
  }
}
const char* ncclGetLastError(ncclComm_t) { return "emulated"; }
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::snprintf(id->internal, sizeof id->internal, "the one of rank 0");
  return ncclSuccess;
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (std::string_view(id.internal) != "the one of rank 0") misuse("another identity");
  if (config->blocking != 0) misuse("a communicator that blocks");
  if (nccl_behaviour.start != ncclSuccess) return nccl_behaviour.start;
  between_ranks();
  *communicator = new EmulatedCommunicator;
  (*communicator)->ranks = ranks;
  (*communicator)->rank = rank;
  (*communicator)->device = current_device;
  return ncclInProgress;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* state) {
  EmulatedCommunicator& c = *communicator;
  *state = ncclInProgress;
  if (++c.polls <= nccl_behaviour.polls_until_ready) return ncclSuccess;
  if (c.is_starting) {
    if (nccl_behaviour.starts_for_ever) return ncclSuccess;
    if (nccl_behaviour.after_start != ncclSuccess) {
      *state = nccl_behaviour.after_start;
      return ncclSuccess;
    }
    c.is_starting = false;
  }
  if (c.is_finalizing && nccl_behaviour.finalizes_for_ever) return ncclSuccess;
  if (nccl_behaviour.operation != ncclSuccess && c.stream) {
    *state = nccl_behaviour.operation;
    return ncclSuccess;
  }
  if (c.launching) {
    if (Clock::now() < c.launching->due) return ncclSuccess;
    c.launching->begin();
    c.stream->last = std::move(c.launching);
  }
  *state = ncclSuccess;
  return ncclSuccess;
}

namespace {

// The calls between ncclGroupStart and ncclGroupEnd.
struct Group {
  bool is_open = false;
  ncclComm_t communicator = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<std::unique_ptr<Part>> parts;
};
Group group;

MPI_Datatype mpi_type(ncclDataType_t type) {
  return type == ncclInt64 ? MPI_INT64_T : type == ncclInt32 ? MPI_INT32_T : MPI_INT8_T;
}
size_t bytes_of(ncclDataType_t type) { return type == ncclInt64 ? 8 : type == ncclInt32 ? 4 : 1; }
void expect_own_shard(ncclComm_t communicator, const void* shard, const void* all, size_t bytes) {
  const auto rank = static_cast<size_t>(communicator->rank);
  if (shard != static_cast<const std::byte*>(all) + rank * bytes)
    misuse("not in place, as a shard");
}
void keep_copy(Part& part, const void* data, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  part.copy.assign(from, from + bytes);
}

ncclResult_t launch(ncclComm_t communicator, cudaStream_t stream,
                    std::vector<std::unique_ptr<Part>> parts) {
  ncclResult_t state = ncclSuccess;
  ncclCommGetAsyncError(communicator, &state);
  if (state == ncclInProgress || communicator->launching) {
    misuse("asked while it is in progress");
    return ncclInvalidArgument;
  }
  communicator->stream = stream;
  communicator->polls = 0;
  communicator->launching = std::make_shared<Operation>(Operation{std::move(parts)});
  return ncclInProgress;
}

ncclResult_t ask(ncclComm_t communicator, cudaStream_t stream, std::function<void(Part&)> begin) {
  if (nccl_behaviour.call != ncclSuccess) return nccl_behaviour.call;
  std::vector<std::unique_ptr<Part>> parts;
  parts.push_back(std::make_unique<Part>(Part{std::move(begin), {}}));
  if (!group.is_open) return launch(communicator, stream, std::move(parts));
  group.communicator = communicator;
  group.stream = stream;
  group.parts.push_back(std::move(parts[0]));
  return ncclSuccess;
}

}  // namespace

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t communicator, cudaStream_t stream) {
  if (from != to || operation != ncclSum) misuse("not a sum in place");
  return ask(communicator, stream, [=](Part& part) {
    MPI_Iallreduce(MPI_IN_PLACE, to, static_cast<int>(count), mpi_type(type), MPI_SUM,
                   between_ranks(), &part.request);
  });
}
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count_each, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t communicator,
                               cudaStream_t stream) {
  if (operation != ncclSum) misuse("not a sum");
  expect_own_shard(communicator, to, from, count_each * bytes_of(type));
  return ask(communicator, stream, [=](Part& part) {
    keep_copy(part, from, static_cast<size_t>(communicator->ranks) * count_each * bytes_of(type));
    MPI_Ireduce_scatter_block(part.copy.data(), to, static_cast<int>(count_each), mpi_type(type),
                              MPI_SUM, between_ranks(), &part.request);
  });
}
ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                        ncclRedOp_t operation, int root, ncclComm_t communicator,
                        cudaStream_t stream) {
  if (from != to || operation != ncclSum) misuse("not a sum in place");
  return ask(communicator, stream, [=](Part& part) {
    const bool is_root = communicator->rank == root;
    MPI_Ireduce(is_root ? MPI_IN_PLACE : from, is_root ? to : nullptr, static_cast<int>(count),
                mpi_type(type), MPI_SUM, root, between_ranks(), &part.request);
  });
}
ncclResult_t ncclAllGather(const void* from, void* to, size_t count_each, ncclDataType_t type,
                           ncclComm_t communicator, cudaStream_t stream) {
  expect_own_shard(communicator, from, to, count_each * bytes_of(type));
  return ask(communicator, stream, [=](Part& part) {
    MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, to, static_cast<int>(count_each),
                   mpi_type(type), between_ranks(), &part.request);
  });
}
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  if (from != to) misuse("not in place");
  return ask(communicator, stream, [=](Part& part) {
    MPI_Ibcast(to, static_cast<int>(count), mpi_type(type), root, between_ranks(), &part.request);
  });
}
ncclResult_t ncclGroupStart() {
  if (std::exchange(group.is_open, true)) misuse("a group within a group");
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (!std::exchange(group.is_open, false)) misuse("the end of no group");
  if (group.parts.empty()) return ncclSuccess;
  return launch(group.communicator, group.stream, std::exchange(group.parts, {}));
}
ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  communicator->is_finalizing = true;
  communicator->polls = 0;
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  if (!communicator->is_finalizing) misuse("destroyed without being finalized");
  if (current_device != communicator->device) misuse("destroyed beside another device");
  ++nccl_seen.destroys_begun;
  while (nccl_behaviour.destroys_for_ever)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ++nccl_seen.destroyed;
  delete communicator;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  if (current_device != communicator->device) misuse("aborted beside another device");
  ++nccl_seen.aborts_begun;
  while (nccl_behaviour.aborts_for_ever) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  delete communicator;
  ++nccl_seen.aborts_done;
  return ncclSuccess;
}
