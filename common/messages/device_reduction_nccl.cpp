// Sums over ranks by NCCL, in non-blocking mode. An operation has two waits: until NCCL has put it
// on the stream, before which nothing else may be asked of the communicator and an event would be
// recorded too early; and until the device has done it, which the event tells.
#include <cuda_runtime.h>
#include <fmt/format.h>
#include <nccl.h>

#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <thread>
#include <type_traits>
#include <utility>

#include "common/check.hpp"
#include "common/messages/device_reduction.hpp"
#include "common/partition.hpp"

namespace eggroll {
namespace {

using Clock = std::chrono::steady_clock;

// From here on a communicator may be aborted in another thread than the one that started its work.
constexpr int kOldestVersion = 21900;
constexpr std::chrono::seconds kAbortFor{5};  // an abort that takes longer is left to itself
constexpr std::chrono::seconds kEndFor{5};    // of an orderly end, for which all ranks are needed

int version() {
  int version = 0;
  ncclGetVersion(&version);
  return version;
}

std::string where(const Collectives& group) {
  return fmt::format("rank {} of {} on {}", group.rank(), group.size(), host_name());
}

void check_cuda(cudaError_t code, const char* call, const Collectives& group) {
  if (code == cudaSuccess) return;
  throw Error(fmt::format("{} failed: {} ({})", call, cudaGetErrorString(code), where(group)));
}

std::string nccl_failure(ncclResult_t code, ncclComm_t communicator, const char* call,
                         const Collectives& group) {
  const char* details = ncclGetLastError(communicator);
  return fmt::format("{} failed: {}{}{} ({})", call, ncclGetErrorString(code),
                     details && *details ? ": " : "", details ? details : "", where(group));
}

struct StreamEnd {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
struct EventEnd {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, StreamEnd>;
using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, EventEnd>;

// A communicator of NCCL's. Nothing here waits for another rank for longer than it says.
class NcclCommunicator {
 public:
  explicit NcclCommunicator(int device_index) : device_index_(device_index) {}
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;
  ~NcclCommunicator() { abort(); }

  ncclComm_t* address() { return &handle_; }
  ncclComm_t handle() const { return handle_; }

  ncclResult_t state() const {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t code = ncclCommGetAsyncError(handle_, &state);
    return code == ncclSuccess ? state : code;
  }

  // Stops what runs on the device; its memory is left alone from then on.
  void abort() noexcept {
    if (!handle_) return;
    const ncclComm_t handle = std::exchange(handle_, nullptr);
    call_for(kAbortFor, [handle] { ncclCommAbort(handle); });
  }

  // Waits for the ranks that are still at work, then frees it; else aborts.
  void end_together(const Collectives& group) noexcept {
    if (!handle_) return;
    ncclResult_t code = ncclCommFinalize(handle_);
    const Clock::time_point start = Clock::now();
    if (code == ncclSuccess || code == ncclInProgress)
      while ((code = state()) == ncclInProgress && !group.is_broken()) {
        const Clock::duration waited = Clock::now() - start;
        if (waited > kEndFor) break;
        pause_after(waited);
      }
    if (code != ncclSuccess) return abort();
    // On one host it waits until the other ranks free theirs, too.
    const ncclComm_t handle = std::exchange(handle_, nullptr);
    call_for(kEndFor, [handle] { ncclCommDestroy(handle); });
  }

 private:
  // NCCL does not say how long its last calls take, so they have a thread of their own, which is
  // left to itself after this time.
  template <typename Call>
  void call_for(std::chrono::seconds limit, Call call) noexcept {
    try {
      std::promise<void> promise;
      const std::future<void> done = promise.get_future();
      std::thread([device = device_index_, call, promise = std::move(promise)]() mutable {
        cudaSetDevice(device);
        call();
        promise.set_value();
      }).detach();
      done.wait_for(limit);
    } catch (const std::exception&) {  // no thread to be had: it ends with the process
    }
  }

  int device_index_;
  ncclComm_t handle_ = nullptr;
};

class NcclReduction final : public DeviceReduction {
 public:
  NcclReduction(Collectives& group, const DeviceReductionSettings& settings)
      : group_(group),
        loss_limit_(settings.loss_limit),
        exceptions_(std::uncaught_exceptions()),
        communicator_(settings.device_index) {
    if (version() < kOldestVersion)
      throw Error(fmt::format("{}: needed is 2.19 or newer; --all-reduce mpi goes without it ({})",
                              device_reduction_name(), where(group_)));
    check_cuda(cudaSetDevice(settings.device_index), "cudaSetDevice", group_);
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
               "cudaStreamCreateWithFlags", group_);
    stream_.reset(stream);
    find_each_other(settings.start_limit);
  }

  ~NcclReduction() override {
    const bool is_unwinding = std::uncaught_exceptions() > exceptions_;
    if (is_unwinding || !waiting_.empty() || launching_ || group_.is_broken())
      communicator_.abort();
    else
      communicator_.end_together(group_);
  }

  std::unique_ptr<Collectives::Pending> start_all_reduce_sum(const DeviceSums& sums) override {
    const auto ranks = static_cast<uint64_t>(group_.size());
    group_.count_sent(2 * sums.size * element_bytes(sums) * (ranks - 1) / ranks);
    return start("ncclAllReduce", [sums, this] {
      return ncclAllReduce(sums.data, sums.data, sums.size, type_of(sums), ncclSum,
                           communicator_.handle(), stream_.get());
    });
  }

  // NCCL knows equal shards only; what the last has more goes beside them, in the same launch.
  std::unique_ptr<Collectives::Pending> start_reduce_scatter_sum(const DeviceSums& sums) override {
    const Shards shards(sums.size, group_);
    const size_t bytes = element_bytes(sums);
    group_.count_sent((sums.size - shards.mine.count) * bytes);
    return start("ncclReduceScatter", [sums, shards, bytes, this] {
      auto* data = static_cast<std::byte*>(sums.data);
      return together([&](const auto& call) {
        if (shards.each > 0)
          call(ncclReduceScatter(data, data + shards.mine.first * bytes, shards.each, type_of(sums),
                                 ncclSum, communicator_.handle(), stream_.get()));
        std::byte* rest = data + shards.rest.first * bytes;
        if (shards.rest.count > 0)
          call(ncclReduce(rest, rest, shards.rest.count, type_of(sums), ncclSum, shards.last,
                          communicator_.handle(), stream_.get()));
      });
    });
  }

  std::unique_ptr<Collectives::Pending> start_all_gather(
      const DeviceParameters& parameters) override {
    const Shards shards(parameters.size, group_);
    const size_t bytes = bytes_of(parameters.element);
    group_.count_sent(shards.mine.count * bytes * static_cast<uint64_t>(group_.size() - 1));
    return start("ncclAllGather", [parameters, shards, bytes, this] {
      auto* data = static_cast<std::byte*>(parameters.data);
      return together([&](const auto& call) {
        if (shards.each > 0)
          call(ncclAllGather(data + shards.mine.first * bytes, data, shards.each * bytes, ncclInt8,
                             communicator_.handle(), stream_.get()));
        std::byte* rest = data + shards.rest.first * bytes;
        if (shards.rest.count > 0)
          call(ncclBroadcast(rest, rest, shards.rest.count * bytes, ncclInt8, shards.last,
                             communicator_.handle(), stream_.get()));
      });
    });
  }

 private:
  struct Operation {
    const char* call;  // for errors
    std::function<ncclResult_t()> launch;
    Event done;
    bool is_recorded = false;
    bool is_complete = false;
  };

  // How shard_of_rank divides some elements, as NCCL has to be told.
  struct Shards {
    Shards(size_t elements, const Collectives& group)
        : each(elements / static_cast<size_t>(group.size())),
          mine(shard_of_rank(elements, group.rank(), group.size())),
          last(group.size() - 1),
          rest{each * static_cast<size_t>(group.size()),
               elements - each * static_cast<size_t>(group.size())} {}
    size_t each;
    Shard mine;
    int last;    // the rank that has the rest as well
    Shard rest;  // behind the equal shards
  };

  static ncclDataType_t type_of(const DeviceSums& sums) {
    return sums.wide ? ncclInt64 : ncclInt32;
  }
  static size_t element_bytes(const DeviceSums& sums) {
    return sums.wide ? sizeof(int64_t) : sizeof(int32_t);
  }

  // Several calls as one; what the first that fails says.
  template <typename Calls>
  static ncclResult_t together(Calls&& calls) {
    ncclResult_t result = ncclGroupStart();
    const auto keep = [&](ncclResult_t code) {
      if (result == ncclSuccess || result == ncclInProgress) result = code;
    };
    if (result != ncclSuccess) return result;
    calls(keep);
    keep(ncclGroupEnd());
    return result;
  }

  std::unique_ptr<Collectives::Pending> start(const char* call,
                                              std::function<ncclResult_t()> launch) {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags",
               group_);
    auto operation = std::make_shared<Operation>(Operation{call, std::move(launch), Event(event)});
    auto pending = std::make_unique<PendingOperation>(*this, operation);
    waiting_.push_back(std::move(operation));
    advance();
    return pending;
  }

  class PendingOperation final : public Collectives::Pending {
   public:
    PendingOperation(NcclReduction& reduction, std::shared_ptr<Operation> operation)
        : reduction_(reduction),
          operation_(std::move(operation)),
          exceptions_(std::uncaught_exceptions()) {}
    ~PendingOperation() override {
      if (operation_->is_complete) return;
      if (std::uncaught_exceptions() > exceptions_) {
        reduction_.communicator_.abort();
        return;
      }
      try {
        Collectives::wait(*this);
      } catch (const std::exception&) {
        // It is aborted, so nothing writes into its memory any more.
      }
    }
    bool test() override { return reduction_.test(*operation_); }

   private:
    NcclReduction& reduction_;
    std::shared_ptr<Operation> operation_;
    int exceptions_;
  };

  void find_each_other(std::chrono::milliseconds limit) {
    ncclUniqueId id{};
    if (group_.rank() == 0) {
      const ncclResult_t code = ncclGetUniqueId(&id);
      if (code != ncclSuccess) throw Error(nccl_failure(code, nullptr, "ncclGetUniqueId", group_));
    }
    group_.broadcast(bytes_of(id));
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    constexpr const char* kCall = "ncclCommInitRankConfig";
    ncclResult_t code =
        ncclCommInitRankConfig(communicator_.address(), group_.size(), id, group_.rank(), &config);
    const Clock::time_point start = Clock::now();
    while (code == ncclInProgress || code == ncclSuccess) {
      check_group();
      code = communicator_.state();
      if (code == ncclSuccess) return;
      const Clock::duration waited = Clock::now() - start;
      if (waited > limit)
        fail(
            fmt::format("{}: the ranks have not found each other in {} s; NCCL_DEBUG=INFO in the "
                        "environment shows why, --all-reduce mpi goes without NCCL ({})",
                        kCall, std::chrono::duration<double>(limit).count(), where(group_)));
      pause_after(waited);
    }
    fail(nccl_failure(code, communicator_.handle(), kCall, group_));
  }

  // Hands NCCL what waits for it, one after another.
  void advance() {
    check_group();
    if (!communicator_.handle())
      throw Error(fmt::format("what ran between the devices has been aborted ({})", where(group_)));
    for (;;) {
      const ncclResult_t state = communicator_.state();
      if (state == ncclInProgress) return;
      if (state != ncclSuccess)
        fail(nccl_failure(state, communicator_.handle(), last_call_, group_));
      if (launching_) record(*std::exchange(launching_, nullptr));
      if (waiting_.empty()) return;
      launching_ = std::move(waiting_.front());
      waiting_.pop_front();
      last_call_ = launching_->call;
      const ncclResult_t code = launching_->launch();
      if (code != ncclSuccess && code != ncclInProgress)
        fail(nccl_failure(code, communicator_.handle(), last_call_, group_));
    }
  }

  bool test(Operation& operation) {
    if (operation.is_complete) return true;
    advance();
    if (!operation.is_recorded) return false;
    const cudaError_t code = cudaEventQuery(operation.done.get());
    if (code == cudaErrorNotReady) return false;
    if (code != cudaSuccess) {
      communicator_.abort();
      check_cuda(code, "cudaEventQuery", group_);
    }
    return operation.is_complete = true;
  }

  void record(Operation& operation) {
    const cudaError_t code = cudaEventRecord(operation.done.get(), stream_.get());
    if (code != cudaSuccess) communicator_.abort();
    check_cuda(code, "cudaEventRecord", group_);
    operation.is_recorded = true;
  }

  void check_group() {
    if (!group_.is_broken()) return;
    communicator_.abort();
    throw GroupBroken("a rank is lost, or has ended the work together");
  }

  [[noreturn]] void fail(const std::string& what) {
    communicator_.abort();
    const Clock::time_point start = Clock::now();
    for (Clock::duration waited{}; waited < loss_limit_; waited = Clock::now() - start) {
      check_group();
      pause_after(waited);
    }
    throw Error(what);
  }

  Collectives& group_;
  std::chrono::milliseconds loss_limit_;
  int exceptions_;
  Stream stream_;
  NcclCommunicator communicator_;
  std::deque<std::shared_ptr<Operation>> waiting_;  // for NCCL to be ready for the next
  std::shared_ptr<Operation> launching_;            // given to NCCL, perhaps not yet on the stream
  const char* last_call_ = "NCCL";                  // that an error may come of
};

}  // namespace

std::string device_reduction_name() {
  return fmt::format("NCCL {}.{}.{}", version() / 10000, version() / 100 % 100, version() % 100);
}

std::unique_ptr<DeviceReduction> make_device_reduction(Collectives& group,
                                                       const DeviceReductionSettings& settings) {
  return std::make_unique<NcclReduction>(group, settings);
}

}  // namespace eggroll
