#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

constexpr size_t kSharedBytes = 232448;         // what a Hopper block may have
constexpr size_t kSharedWithoutAsking = 49152;  // and what any kernel may
constexpr size_t kStackBytes = 256 << 10;

std::map<const void*, size_t>& allowed_shared_bytes() {
  static std::map<const void*, size_t> allowed;
  return allowed;
}

struct Warp {
  unsigned arrived = 0;
  uint64_t round = 0;
  alignas(64) unsigned char values[2][32 * 64] = {};  // of this round and the one before
};

// A place to go on at. swapcontext asks the kernel for the signal mask each time, so it is used for
// the first entry alone, and where the sanitizer must see what happens.
struct Place {
  ucontext_t context = {};
  jmp_buf jump;
  bool is_fresh = true;
};

void switch_to(Place& to, Place& from) {
#if defined(__SANITIZE_ADDRESS__)
  swapcontext(&from.context, &to.context);
#else
  if (_setjmp(from.jump) != 0) return;
  if (to.is_fresh) {
    to.is_fresh = false;
    setcontext(&to.context);
  }
  _longjmp(to.jump, 1);
#endif
}

struct Fiber {
  Place place;
  std::unique_ptr<unsigned char[]> stack{new unsigned char[kStackBytes]};
  bool is_done = false;
};

// One block at a time.
struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Place scheduler;
  const std::function<void()>* thread = nullptr;
  unsigned current = 0, threads = 0, done = 0, at_barrier = 0;
  uint64_t barrier_round = 0;
  bool has_moved = false;
};
Block block;

unsigned threads_of_warp(unsigned warp) { return std::min(32u, block.threads - 32 * warp); }

void yield() {
  switch_to(block.scheduler, block.fibers[block.current].place);
  threadIdx = {block.current, 0, 0};
}

// All threads that have not ended are at the barrier.
void open_barrier_if_all_are_there() {
  if (block.at_barrier == 0 || block.at_barrier != block.threads - block.done) return;
  block.at_barrier = 0;
  ++block.barrier_round;
  block.has_moved = true;
}

void fiber_main() {
  (*block.thread)();
  block.fibers[block.current].is_done = true;
  ++block.done;
  block.has_moved = true;
  open_barrier_if_all_are_there();
  switch_to(block.scheduler, block.fibers[block.current].place);
}

void run_block() {
  static std::mt19937 random(1);
  block.scheduler.is_fresh = false;
  block.done = block.at_barrier = 0;
  block.barrier_round = 0;
  block.warps.assign((block.threads + 31) / 32, {});
  for (unsigned i = 0; i < block.threads; ++i) {
    Fiber& fiber = block.fibers[i];
    fiber.is_done = false;
    ucontext_t& context = fiber.place.context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.get();
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, fiber_main, 0);
    fiber.place.is_fresh = true;
  }
  // Warps in random order, the lanes of each too; a warp runs on while its lanes exchange.
  std::vector<unsigned> warps(block.warps.size()), lanes(32);
  std::iota(warps.begin(), warps.end(), 0u);
  std::iota(lanes.begin(), lanes.end(), 0u);
  while (block.done < block.threads) {
    std::shuffle(warps.begin(), warps.end(), random);
    bool any = false;
    for (const unsigned warp : warps) {
      std::shuffle(lanes.begin(), lanes.end(), random);
      do {
        block.has_moved = false;
        for (const unsigned lane : lanes) {
          const unsigned i = 32 * warp + lane;
          if (i >= block.threads || block.fibers[i].is_done) continue;
          block.current = i;
          threadIdx = {i, 0, 0};
          switch_to(block.fibers[i].place, block.scheduler);
        }
        any |= block.has_moved;
      } while (block.has_moved);
    }
    if (!any) {
      std::fprintf(stderr, "emulated kernel: the threads of a block wait at different barriers\n");
      std::abort();
    }
  }
}

}  // namespace

namespace eggroll::cuda {
alignas(1024) unsigned char eggroll_shared[kSharedBytes];
}

void __syncthreads() {
  const uint64_t round = block.barrier_round;
  ++block.at_barrier;
  open_barrier_if_all_are_there();
  while (block.barrier_round == round) yield();
}

void __syncwarp(unsigned) { cuda_emulation::exchange_in_warp(nullptr, 0); }

namespace cuda_emulation {

unsigned lane() { return block.current % 32; }

const unsigned char* exchange_in_warp(const void* mine, size_t size,
                                      void (*by_last)(unsigned char* all)) {
  Warp& warp = block.warps[block.current / 32];
  const uint64_t round = warp.round;
  unsigned char* values = warp.values[round % 2];
  if (size != 0) std::memcpy(values + 64 * lane(), mine, size);
  if (++warp.arrived == threads_of_warp(block.current / 32)) {
    if (by_last != nullptr) by_last(values);
    warp.arrived = 0;
    ++warp.round;
    block.has_moved = true;
  } else {
    while (warp.round == round) yield();
  }
  return values;
}

cudaError_t run(const cudaLaunchConfig_t& config, const void* kernel,
                const std::function<void()>& thread) {
  const auto allowed = allowed_shared_bytes().find(kernel);
  const size_t most =
      allowed == allowed_shared_bytes().end() ? kSharedWithoutAsking : allowed->second;
  const unsigned threads = config.blockDim.x;
  if (config.dynamicSmemBytes > most || threads == 0 || threads > 1024 ||
      config.blockDim.y * config.blockDim.z != 1 || config.gridDim.x == 0 ||
      config.gridDim.y == 0 || config.gridDim.y > 65535 || config.gridDim.z == 0 ||
      config.gridDim.z > 65535)
    return cudaErrorInvalidValue;
  using eggroll::cuda::eggroll_shared;
  std::fill_n(eggroll_shared, kSharedBytes, 0xA5);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(eggroll_shared + config.dynamicSmemBytes,
                              kSharedBytes - config.dynamicSmemBytes);
#endif
  block.thread = &thread;
  block.threads = threads;
  if (block.fibers.size() < threads) block.fibers.resize(threads);
  blockDim = config.blockDim;
  gridDim = config.gridDim;
  for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) run_block();
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(eggroll_shared, kSharedBytes);
#endif
  return cudaSuccess;
}

}  // namespace cuda_emulation

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
  }
  return "unknown";
}
const char* cudaGetErrorString(cudaError_t code) { return cudaGetErrorName(code); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  const char* shared_bytes = std::getenv("EMULATED_SHARED_BYTES");  // as a smaller device has
  *properties = {"emulated device", 2,
                 shared_bytes == nullptr ? kSharedBytes : std::stoul(shared_bytes)};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* address, int size, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  std::snprintf(address, static_cast<size_t>(size), "0000:00:00.0");
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const char* bytes = std::getenv("EMULATED_FREE_BYTES");  // what a device has left
  *total = size_t{1} << 30;
  *free = bytes == nullptr ? *total : std::strtoull(bytes, nullptr, 10);
  return cudaSuccess;
}

// New memory holds what a kernel must not read before it has been written.
cudaError_t cudaMalloc(void** p, size_t bytes) {
  *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (*p == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*p, 0xA5, bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  std::free(p);
  return cudaSuccess;
}

struct cudaEmulatedStream {};
struct cudaEmulatedEvent {};
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new cudaEmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new cudaEmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<size_t>(value) > kSharedBytes) return cudaErrorInvalidValue;
  allowed_shared_bytes()[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}
