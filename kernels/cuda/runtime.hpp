// Memory, streams, events and launches of a CUDA device: move-only owners, every call checked. The
// calling thread must have chosen the device (cudaSetDevice).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "common/check.hpp"

namespace eggroll::cuda {

inline void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // this error has been told; the next check tells of its own
  throw Error(std::string(call) + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) +
              ")");
}
#define CUDA_CHECK(call) ::eggroll::cuda::check_cuda((call), #call)

// Zeroed memory of the device, or memory of the host that the device copies from and to at full
// speed (pinned). Throws Error where there is not enough.
enum class Memory { device, pinned };

template <typename T, Memory memory>
class CudaBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  CudaBuffer() = default;
  explicit CudaBuffer(size_t size) : size_(size) {
    if (size == 0) return;
    void* data = nullptr;
    const cudaError_t code = memory == Memory::device
                                 ? cudaMalloc(&data, size * sizeof(T))
                                 : cudaHostAlloc(&data, size * sizeof(T), cudaHostAllocDefault);
    if (code == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw Error("the device has not the memory that the run needs: " +
                  std::to_string((size * sizeof(T)) >> 20) + " MiB more");
    }
    check_cuda(code, memory == Memory::device ? "cudaMalloc" : "cudaHostAlloc");
    data_ = static_cast<T*>(data);
    if (memory == Memory::pinned) {
      std::memset(static_cast<void*>(data_), 0, size * sizeof(T));
      return;
    }
    CUDA_CHECK(cudaMemset(data_, 0, size * sizeof(T)));
    CUDA_CHECK(cudaDeviceSynchronize());  // other streams do not wait for the default one
  }
  ~CudaBuffer() {
    if (data_ == nullptr) return;
    if (memory == Memory::device)
      cudaFree(data_);
    else
      cudaFreeHost(data_);
  }
  CudaBuffer(CudaBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  CudaBuffer& operator=(CudaBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<T> span() { return {data_, size_}; }  // pinned memory only: the host reads it

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

template <typename T>
using DeviceBuffer = CudaBuffer<T, Memory::device>;
template <typename T>
using PinnedBuffer = CudaBuffer<T, Memory::pinned>;

class Stream {
 public:
  Stream() { CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  operator cudaStream_t() const { return stream_; }
  void synchronize() const { CUDA_CHECK(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    CUDA_CHECK(cudaEventCreateWithFlags(&event_, flags));
  }
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  operator cudaEvent_t() const { return event_; }
  void record(const Stream& stream) const { CUDA_CHECK(cudaEventRecord(event_, stream)); }
  // Everything before record() is done.
  bool has_passed() const {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) return false;
    check_cuda(code, "cudaEventQuery");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

template <typename T>
void copy_to_device(T* to, std::span<const std::type_identity_t<T>> from, const Stream& stream) {
  if (!from.empty())
    CUDA_CHECK(cudaMemcpyAsync(to, from.data(), from.size_bytes(), cudaMemcpyHostToDevice, stream));
}
template <typename T>
void copy_to_host(std::span<T> to, const std::type_identity_t<T>* from, const Stream& stream) {
  if (!to.empty())
    CUDA_CHECK(cudaMemcpyAsync(to.data(), from, to.size_bytes(), cudaMemcpyDeviceToHost, stream));
}
template <typename T>
void fill_with_zeros(T* data, size_t size, const Stream& stream) {
  if (size != 0) CUDA_CHECK(cudaMemsetAsync(data, 0, size * sizeof(T), stream));
}

struct LaunchShape {
  dim3 blocks;
  unsigned threads = 256;   // a block
  size_t shared_bytes = 0;  // a block; above 48 KiB the kernel must have been allowed it
};

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, const Stream& stream,
            Arguments&&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.blocks;
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

// Lets a kernel have more than 48 KiB of shared memory a block.
template <typename... Parameters>
void allow_shared_bytes(void (*kernel)(Parameters...), size_t bytes) {
  CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes)));
}

}  // namespace eggroll::cuda
