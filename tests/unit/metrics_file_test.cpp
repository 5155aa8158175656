// The file of metrics on a disk that is full, comes back, or goes away: whole lines in order, none
// lost, none twice.
#include "coordinator/records/metrics_file.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::read_text;
using test::refusal;

// Files of this process do not grow beyond this while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(uint64_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

class MetricsFileTest : public testing::Test {
 protected:
  MetricsFileTest() { folder_.write("config.ini", ""); }
  std::string text() const { return read_text(folder_ / "metrics.jsonl"); }

  test::ScratchFolder folder_;
};

TEST_F(MetricsFileTest, EachLineIsThereAtOnce) {
  MetricsFile metrics(folder_.path(), 0);
  metrics.append("a");
  EXPECT_EQ(text(), "a\n");
  metrics.append("b");
  EXPECT_EQ(text(), "a\nb\n");
  EXPECT_EQ(metrics.waiting_lines(), 0u);
}

TEST_F(MetricsFileTest, RecordsOfTheResumedRunStayLaterOnesAndHalfOnesGo) {
  folder_.write("metrics.jsonl",
                "{\"generation\":1}\n{\"generation\":2}\n{\"generation\":3}\n{\"gener");
  MetricsFile metrics(folder_.path(), 2);
  metrics.append("{\"generation\":3,\"again\":true}");
  EXPECT_EQ(text(), "{\"generation\":1}\n{\"generation\":2}\n{\"generation\":3,\"again\":true}\n");
}

TEST_F(MetricsFileTest, TheLastRecordThatStayedCanBeAmendedAndOthersFollow) {
  const std::string before = "{\"generation\":1}\n";
  folder_.write("metrics.jsonl", before + "{\"generation\":2}\n{\"generation\":3}\n");
  MetricsFile metrics(folder_.path(), 2);
  EXPECT_EQ(metrics.last_kept(), "{\"generation\":2}");
  metrics.amend_last_kept("{\"generation\":2,\"more\":1}");
  EXPECT_EQ(text(), before + "{\"generation\":2,\"more\":1}\n");
  metrics.append("next");
  EXPECT_EQ(text(), before + "{\"generation\":2,\"more\":1}\nnext\n");
}

TEST_F(MetricsFileTest, OfALineThatDoesNotFitNothingStaysAndItComesLater) {
  MetricsFile metrics(folder_.path(), 0);
  metrics.append("first");
  for (uint64_t room : {uint64_t{6}, uint64_t{8}, uint64_t{12}}) {
    const FileSizeLimit full(room);
    metrics.append("does not fit");
    metrics.sync();
    EXPECT_EQ(text(), "first\n") << room;
    EXPECT_EQ(metrics.error(), "cannot write: File too large");
  }
  EXPECT_EQ(metrics.waiting_lines(), 3u);
  EXPECT_GE(metrics.failed_attempts(), 3u);
  metrics.sync();
  EXPECT_EQ(metrics.error(), "");
  EXPECT_EQ(metrics.failed_attempts(), 0u);
  EXPECT_EQ(text(), "first\ndoes not fit\ndoes not fit\ndoes not fit\n");
}

TEST_F(MetricsFileTest, ItTriesAgainByItselfButNotForEveryLine) {
  MetricsFile metrics(folder_.path(), 0);
  {
    const FileSizeLimit full(1);
    for (int i = 0; i < 1000; ++i) metrics.append("line");
    EXPECT_LT(metrics.failed_attempts(), 1000u);
  }
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  uint64_t lines = 1000;
  for (; metrics.waiting_lines() > 0 && std::chrono::steady_clock::now() < limit; ++lines) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    metrics.append("line");
  }
  EXPECT_EQ(text().size(), 5 * lines);
}

TEST_F(MetricsFileTest, AFolderThatGoesAwayAndComesBack) {
  MetricsFile metrics(folder_.path(), 0);
  metrics.append("before");
  const fs::path elsewhere = folder_.path().string() + "-elsewhere";
  fs::rename(folder_.path(), elsewhere);
  metrics.append("meanwhile");
  EXPECT_EQ(metrics.error(), "cannot open: No such file or directory");
  // The empty folder on which a file system was mounted is not the run's.
  fs::create_directory(folder_.path());
  metrics.sync();
  EXPECT_NE(metrics.error(), "");
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  fs::remove(folder_.path());
  fs::rename(elsewhere, folder_.path());
  metrics.append("after");
  metrics.sync();
  EXPECT_EQ(metrics.error(), "");
  EXPECT_EQ(text(), "before\nmeanwhile\nafter\n");
}

TEST_F(MetricsFileTest, AFileThatWasRemovedIsBegunAnew) {
  MetricsFile metrics(folder_.path(), 0);
  metrics.append("before");
  fs::remove(folder_ / "metrics.jsonl");
  metrics.append("after");
  EXPECT_EQ(metrics.error(), "");
  EXPECT_EQ(text(), "after\n");
}

TEST_F(MetricsFileTest, MemoryForWhatWaitsIsBounded) {
  MetricsFile metrics(folder_.path(), 0, 50);
  const FileSizeLimit full(1);
  for (int i = 0; i < 5; ++i) {
    metrics.append("123456789");
    EXPECT_FALSE(metrics.is_beyond_budget());
  }
  metrics.append("1");
  EXPECT_TRUE(metrics.is_beyond_budget());
}

TEST_F(MetricsFileTest, AFolderThatIsNotThereIsAnErrorAtTheStart) {
  EXPECT_EQ(
      refusal([&] { MetricsFile metrics(folder_ / "nowhere", 0); }),
      (folder_ / "nowhere/metrics.jsonl").string() + ": cannot write: No such file or directory");
}

TEST_F(MetricsFileTest, TheLastWholeRecordSaysHowFarItIs) {
  EXPECT_EQ(recorded_generations(folder_.path(), 9000), 0u);
  std::string text;
  for (int g = 1; g <= 3000; ++g)
    text +=
        "{\"generation\":" + std::to_string(g) + ",\"filling\":\"" + std::string(50, 'x') + "\"}\n";
  folder_.write("metrics.jsonl", text);
  EXPECT_EQ(recorded_generations(folder_.path(), 9000), 3000u);
  EXPECT_EQ(recorded_generations(folder_.path(), 17), 17u);
  folder_.write("metrics.jsonl", text + "{\"generation\":3001");
  EXPECT_EQ(recorded_generations(folder_.path(), 9000), 3000u);
  folder_.write("metrics.jsonl", "{\"generation\":2}\n{\"generation\":\"x\"}\nno record\n");
  EXPECT_EQ(recorded_generations(folder_.path(), 9000), 2u);
}

}  // namespace
}  // namespace eggroll
