#include "tests/nccl_emulation/emulation.hpp"

#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "common/mpi_calls.hpp"

using eggroll::test::nccl_behaviour;
using eggroll::test::nccl_seen;

namespace eggroll::test {
NcclBehaviour nccl_behaviour;
NcclSeen nccl_seen;
}  // namespace eggroll::test

namespace {

using Clock = std::chrono::steady_clock;

struct Operation {
  void* data;
  int count;
  MPI_Datatype type;
  MPI_Request request = MPI_REQUEST_NULL;
  bool is_done = false, is_begun = false;
  Clock::time_point due = Clock::now() + std::chrono::milliseconds(nccl_behaviour.delay_ms);

  bool has_passed() {
    if (!is_begun || nccl_behaviour.runs_for_ever) return false;
    if (is_done) return true;
    int done = 0;
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    return is_done = done != 0;
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
cudaError_t cudaSetDevice(int device) { return device < 4 ? cudaSuccess : cudaErrorInvalidDevice; }
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
  *version = 22809;
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
ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int, ncclUniqueId id, int,
                                    ncclConfig_t* config) {
  if (std::string_view(id.internal) != "the one of rank 0") misuse("another identity");
  if (config->blocking != 0) misuse("a communicator that blocks");
  if (nccl_behaviour.start != ncclSuccess) return nccl_behaviour.start;
  between_ranks();
  *communicator = new EmulatedCommunicator;
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
    Operation& operation = *c.launching;
    operation.is_begun = true;
    if (!nccl_behaviour.runs_for_ever)
      MPI_Iallreduce(MPI_IN_PLACE, operation.data, operation.count, operation.type, MPI_SUM,
                     between_ranks(), &operation.request);
    c.stream->last = std::move(c.launching);
  }
  *state = ncclSuccess;
  return ncclSuccess;
}
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t communicator, cudaStream_t stream) {
  if (nccl_behaviour.call != ncclSuccess) return nccl_behaviour.call;
  ncclResult_t state = ncclSuccess;
  ncclCommGetAsyncError(communicator, &state);
  if (state == ncclInProgress || communicator->launching) {
    misuse("asked while it is in progress");
    return ncclInvalidArgument;
  }
  if (from != to || operation != ncclSum) misuse("not a sum in place");
  communicator->stream = stream;
  communicator->polls = 0;
  communicator->launching = std::make_shared<Operation>(
      Operation{to, static_cast<int>(count), type == ncclInt64 ? MPI_INT64_T : MPI_INT32_T});
  return ncclInProgress;
}
ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  communicator->is_finalizing = true;
  communicator->polls = 0;
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  if (!communicator->is_finalizing) misuse("destroyed without being finalized");
  ++nccl_seen.destroyed;
  delete communicator;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  ++nccl_seen.aborts_begun;
  while (nccl_behaviour.aborts_for_ever) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  delete communicator;
  ++nccl_seen.aborts_done;
  return ncclSuccess;
}
