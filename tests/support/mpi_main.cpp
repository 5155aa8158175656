// GoogleTest under mpirun: rank 0 prints the progress, every rank prints its failures with its name
// before them, and all ranks exit with 1 when one of them failed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <sstream>

#include "tests/support/mpi_world.hpp"

namespace eggroll::test {

namespace {

MpiSession* session = nullptr;
Collectives* world = nullptr;

// Leaves everything but failures to GoogleTest's own printer, which is there on rank 0 only.
class RankPrinter : public testing::TestEventListener {
 public:
  explicit RankPrinter(testing::TestEventListener* progress) : progress_(progress) {}

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) {
      if (progress_) progress_->OnTestPartResult(result);
      return;
    }
    // Printed at once, so that lines of two ranks do not mix.
    std::string text =
        fmt::format("{}:{}: Failure\n{}", result.file_name() ? result.file_name() : "",
                    result.line_number(), result.message());
    std::istringstream lines(text);
    text.clear();
    for (std::string line; std::getline(lines, line);)
      text += fmt::format("[rank {} on {}] {}\n", world->rank(), host_name(), line);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  void OnTestProgramStart(const testing::UnitTest& unit) override {
    if (progress_) progress_->OnTestProgramStart(unit);
  }
  void OnTestIterationStart(const testing::UnitTest& unit, int iteration) override {
    if (progress_) progress_->OnTestIterationStart(unit, iteration);
  }
  void OnEnvironmentsSetUpStart(const testing::UnitTest&) override {}
  void OnEnvironmentsSetUpEnd(const testing::UnitTest&) override {}
  void OnEnvironmentsTearDownStart(const testing::UnitTest&) override {}
  void OnEnvironmentsTearDownEnd(const testing::UnitTest&) override {}
  void OnTestSuiteStart(const testing::TestSuite& suite) override {
    if (progress_) progress_->OnTestSuiteStart(suite);
  }
  void OnTestStart(const testing::TestInfo& info) override {
    if (progress_) progress_->OnTestStart(info);
  }
  void OnTestEnd(const testing::TestInfo& info) override {
    if (progress_) progress_->OnTestEnd(info);
  }
  void OnTestSuiteEnd(const testing::TestSuite& suite) override {
    if (progress_) progress_->OnTestSuiteEnd(suite);
  }
  void OnTestIterationEnd(const testing::UnitTest& unit, int iteration) override {
    if (progress_) progress_->OnTestIterationEnd(unit, iteration);
  }
  void OnTestProgramEnd(const testing::UnitTest& unit) override {
    if (progress_) progress_->OnTestProgramEnd(unit);
  }

 private:
  std::unique_ptr<testing::TestEventListener> progress_;
};

}  // namespace

MpiSession& mpi_session() { return *session; }
Collectives& mpi_world() { return *world; }

int run_all_tests() {
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  std::unique_ptr<testing::TestEventListener> progress(
      listeners.Release(listeners.default_result_printer()));
  if (world->rank() != 0) progress.reset();
  listeners.Append(new RankPrinter(progress.release()));

  int32_t failed_ranks = RUN_ALL_TESTS() == 0 ? 0 : 1;
  Collectives::wait(*world->start_all_reduce_sum(std::span(&failed_ranks, 1)));
  if (failed_ranks > 0 && world->rank() == 0)
    fmt::print("{} of {} ranks have failures\n", failed_ranks, world->size());
  return failed_ranks == 0 ? 0 : 1;
}

}  // namespace eggroll::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  eggroll::MpiSession session;
  const std::unique_ptr<eggroll::Collectives> world = session.world();
  eggroll::test::session = &session;
  eggroll::test::world = world.get();
  return eggroll::test::run_all_tests();
}
