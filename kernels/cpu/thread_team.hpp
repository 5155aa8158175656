// ThreadTeam: a fixed number of threads that run one function together, again and again. The caller
// is thread 0. Waiting threads sleep.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace eggroll::cpu {

class ThreadTeam {
 public:
  explicit ThreadTeam(int threads);  // throws Error where there is no room for so many
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // work(thread) on every thread; returns when all have returned. The first exception is thrown
  // again here.
  void run(const std::function<void(int thread)>& work);

  // item(thread, index) for each index below count, taken one by one.
  void for_each(uint64_t count, const std::function<void(int thread, uint64_t index)>& item);

 private:
  void end();
  void work_until_told(int thread);
  void run_one(int thread);

  std::mutex mutex_;
  std::condition_variable start_, done_;
  const std::function<void(int)>* work_ = nullptr;
  uint64_t round_ = 0;
  int running_ = 0;
  bool stop_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> workers_;
};

}  // namespace eggroll::cpu
