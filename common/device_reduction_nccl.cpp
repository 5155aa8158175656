// Sums over ranks by NCCL, in non-blocking mode. An all-reduce has two waits: until NCCL has put it
// on the stream, before which nothing else may be asked of the communicator and an event would be
// recorded too early; and until the device has done it, which the event tells.
#include <cuda_runtime.h>
#include <fmt/format.h>
#include <nccl.h>

#include <deque>
#include <exception>
#include <future>
#include <thread>
#include <type_traits>
#include <utility>

#include "common/check.hpp"
#include "common/device_reduction.hpp"

namespace eggroll {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kAbortFor{5};  // an abort that takes longer is left to itself
constexpr std::chrono::seconds kEndFor{5};    // of an orderly end, for which all ranks are needed

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
  NcclCommunicator() = default;
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

  // Stops what runs on the device; its memory is left alone from then on. NCCL does not say how
  // long that takes, so it has a thread of its own.
  void abort() noexcept {
    if (!handle_) return;
    const ncclComm_t handle = std::exchange(handle_, nullptr);
    try {
      std::promise<void> promise;
      const std::future<void> done = promise.get_future();
      std::thread([handle, promise = std::move(promise)]() mutable {
        ncclCommAbort(handle);
        promise.set_value();
      }).detach();
      done.wait_for(kAbortFor);
    } catch (const std::exception&) {  // no thread to be had: it ends with the process
    }
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
    ncclCommDestroy(std::exchange(handle_, nullptr));
  }

 private:
  ncclComm_t handle_ = nullptr;
};

class NcclReduction final : public DeviceReduction {
 public:
  NcclReduction(Collectives& group, const DeviceReductionSettings& settings)
      : group_(group), loss_limit_(settings.loss_limit), exceptions_(std::uncaught_exceptions()) {
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

  std::unique_ptr<Collectives::Pending> start_sum(const DeviceSums& sums) override {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags",
               group_);
    auto sum = std::make_shared<Sum>(Sum{sums, Event(event)});
    auto pending = std::make_unique<PendingSum>(*this, sum);
    waiting_.push_back(std::move(sum));
    advance();
    const size_t bytes = sums.size * (sums.wide ? sizeof(int64_t) : sizeof(int32_t));
    const auto ranks = static_cast<uint64_t>(group_.size());
    group_.count_sent(2 * bytes * (ranks - 1) / ranks);
    return pending;
  }

 private:
  struct Sum {
    DeviceSums sums;
    Event done;
    bool is_recorded = false;
    bool is_complete = false;
  };

  class PendingSum final : public Collectives::Pending {
   public:
    PendingSum(NcclReduction& reduction, std::shared_ptr<Sum> sum)
        : reduction_(reduction), sum_(std::move(sum)), exceptions_(std::uncaught_exceptions()) {}
    ~PendingSum() override {
      if (sum_->is_complete) return;
      if (std::uncaught_exceptions() > exceptions_) {
        reduction_.communicator_.abort();
        return;
      }
      try {
        Collectives::wait(*this);
      } catch (
          const std::exception&) {  // it is aborted, so nothing writes into its memory any more
      }
    }
    bool test() override { return reduction_.test(*sum_); }

   private:
    NcclReduction& reduction_;
    std::shared_ptr<Sum> sum_;
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
      throw Error(fmt::format("sums on the device have been aborted ({})", where(group_)));
    for (;;) {
      const ncclResult_t state = communicator_.state();
      if (state == ncclInProgress) return;
      if (state != ncclSuccess)
        fail(nccl_failure(state, communicator_.handle(), "ncclAllReduce", group_));
      if (launching_) record(*std::exchange(launching_, nullptr));
      if (waiting_.empty()) return;
      launching_ = std::move(waiting_.front());
      waiting_.pop_front();
      const DeviceSums& sums = launching_->sums;
      const ncclResult_t code =
          ncclAllReduce(sums.data, sums.data, sums.size, sums.wide ? ncclInt64 : ncclInt32, ncclSum,
                        communicator_.handle(), stream_.get());
      if (code != ncclSuccess && code != ncclInProgress)
        fail(nccl_failure(code, communicator_.handle(), "ncclAllReduce", group_));
    }
  }

  bool test(Sum& sum) {
    if (sum.is_complete) return true;
    advance();
    if (!sum.is_recorded) return false;
    const cudaError_t code = cudaEventQuery(sum.done.get());
    if (code == cudaErrorNotReady) return false;
    if (code != cudaSuccess) {
      communicator_.abort();
      check_cuda(code, "cudaEventQuery", group_);
    }
    return sum.is_complete = true;
  }

  void record(Sum& sum) {
    const cudaError_t code = cudaEventRecord(sum.done.get(), stream_.get());
    if (code != cudaSuccess) communicator_.abort();
    check_cuda(code, "cudaEventRecord", group_);
    sum.is_recorded = true;
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
  std::deque<std::shared_ptr<Sum>> waiting_;  // for NCCL to be ready for the next
  std::shared_ptr<Sum> launching_;            // given to NCCL, perhaps not yet on the stream
};

}  // namespace

std::string device_reduction_name() {
  int version = 0;
  ncclGetVersion(&version);
  return fmt::format("NCCL {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::unique_ptr<DeviceReduction> make_device_reduction(Collectives& group,
                                                       const DeviceReductionSettings& settings) {
  return std::make_unique<NcclReduction>(group, settings);
}

}  // namespace eggroll
