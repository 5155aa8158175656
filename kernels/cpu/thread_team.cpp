#include "kernels/cpu/thread_team.hpp"

#include <string>

#include "common/check.hpp"
#include "common/start_thread.hpp"

namespace eggroll::cpu {

ThreadTeam::ThreadTeam(int threads) {
  try {
    for (int t = 1; t < threads; ++t)
      workers_.push_back(start_thread([this, t] { work_until_told(t); }));
  } catch (const Error& error) {
    const int started = size();
    end();
    throw Error("threads = " + std::to_string(threads) + ": beside " + std::to_string(started) +
                " of them " + error.what());
  }
}

ThreadTeam::~ThreadTeam() { end(); }

void ThreadTeam::end() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadTeam::run_one(int thread) {
  try {
    (*work_)(thread);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadTeam::work_until_told(int thread) {
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    start_.wait(lock, [&] { return stop_ || round_ != seen; });
    if (stop_) return;
    seen = round_;
    lock.unlock();
    run_one(thread);
    lock.lock();
    if (--running_ == 0) done_.notify_one();
  }
}

void ThreadTeam::run(const std::function<void(int)>& work) {
  {
    const std::lock_guard lock(mutex_);
    work_ = &work;
    failure_ = nullptr;
    running_ = static_cast<int>(workers_.size());
    ++round_;
  }
  if (!workers_.empty()) start_.notify_all();
  run_one(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return running_ == 0; });
  if (failure_) std::rethrow_exception(failure_);
}

void ThreadTeam::for_each(uint64_t count, const std::function<void(int, uint64_t)>& item) {
  std::atomic<uint64_t> next{0};
  run([&](int thread) {
    for (uint64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) item(thread, i);
  });
}

}  // namespace eggroll::cpu
