// When a checkpoint is due, and what becomes of a run whose checkpoints or metrics cannot be written.
#include "coordinator/records/storage.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/files/checkpoint_folder.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::has;

class StorageTest : public testing::Test {
 protected:
  StorageTest() {
    config_.checkpoint_every = 10;
    config_.checkpoint_seconds = 0;
    config_.run = (folder_ / "run").string();
    folder_.write("run/config.ini", "");
    open();
  }
  void open(uint64_t completed = 0, uint64_t metrics_budget = kMetricsBudgetBytes) {
    storage_.reset();
    metrics_.emplace(config_.run, completed, metrics_budget);
    storage_.emplace(config_, completed, *metrics_,
                     [&](const std::string& line) { said_.push_back(line); });
  }
  void begin(uint64_t generation) {
    CheckpointHeader header;
    header.generation = generation;
    ParameterLayout layout;
    layout.add("W", Role::matrix, Noise::low_rank, Element::int8, 300, 300);
    storage_->writer().begin(
        {header, layout, {{std::vector<std::byte>(layout.bytes(), std::byte{1})}}});
  }
  // A checkpoint and its outcome.
  void checkpoint(uint64_t generation, CheckpointWish wish = CheckpointWish::asked) {
    if (!storage_->takes_checkpoint(generation, wish)) return;
    begin(generation);
    storage_->writer().commit();
    storage_->settle();
  }
  void lose_folder() { fs::rename(config_.run, folder_ / "elsewhere"); }
  void find_folder() { fs::rename(folder_ / "elsewhere", config_.run); }
  std::string path(uint64_t generation) const {
    return checkpoint_path(config_.run, generation).string();
  }
  // The only line said since the last call.
  std::string line() {
    EXPECT_EQ(said_.size(), 1u);
    const std::string line = said_.empty() ? "nothing" : said_.back();
    said_.clear();
    return line;
  }

  test::ScratchFolder folder_;
  RunConfig config_;
  std::vector<std::string> said_;
  std::optional<MetricsFile> metrics_;
  std::optional<Storage> storage_;
};

TEST_F(StorageTest, ACheckpointIsDueByGenerationsWhenAskedForAndAtTheEnd) {
  std::vector<uint64_t> due;
  for (uint64_t g = 1; g <= 25; ++g)
    if (storage_->takes_checkpoint(g, CheckpointWish::none)) due.push_back(g);
  EXPECT_EQ(due, (std::vector<uint64_t>{10, 20}));
  EXPECT_TRUE(storage_->takes_checkpoint(26, CheckpointWish::asked));
  EXPECT_TRUE(storage_->takes_checkpoint(27, CheckpointWish::last));
}

TEST_F(StorageTest, ACheckpointIsDueByTheClock) {
  config_.checkpoint_every = 0;
  config_.checkpoint_seconds = 1;
  open();
  EXPECT_FALSE(storage_->takes_checkpoint(1, CheckpointWish::none));
  std::this_thread::sleep_for(std::chrono::milliseconds(1050));
  EXPECT_TRUE(storage_->takes_checkpoint(2, CheckpointWish::none));
  EXPECT_FALSE(storage_->takes_checkpoint(3, CheckpointWish::none));  // from the last one on
}

TEST_F(StorageTest, APeriodicOneIsPutOffWhileTheOneBeforeIsBeingWritten) {
  ASSERT_TRUE(storage_->takes_checkpoint(10, CheckpointWish::none));
  begin(10);  // and not committed: it stays under way
  for (uint64_t g = 11; g <= 23; ++g)
    EXPECT_FALSE(storage_->takes_checkpoint(g, CheckpointWish::none)) << g;
  EXPECT_TRUE(storage_->takes_checkpoint(24, CheckpointWish::asked));  // and it waits
  storage_->writer().commit();
  storage_->settle();
  ASSERT_TRUE(storage_->takes_checkpoint(30, CheckpointWish::none));
  begin(30);
  EXPECT_FALSE(storage_->takes_checkpoint(40, CheckpointWish::none));
  storage_->writer().commit();
  storage_->settle();
  EXPECT_TRUE(storage_->takes_checkpoint(41, CheckpointWish::none));  // still owed
  EXPECT_FALSE(storage_->takes_checkpoint(42, CheckpointWish::none));
}

TEST_F(StorageTest, WhatCameToTheDiskIsToldOnce) {
  EXPECT_TRUE(storage_->take_written().empty());
  checkpoint(10);
  checkpoint(20);
  const std::vector<SnapshotOutcome> written = storage_->take_written();
  ASSERT_EQ(written.size(), 2u);
  EXPECT_EQ(written[0].generation, 10u);
  EXPECT_EQ(written[0].bytes, fs::file_size(path(10)));
  EXPECT_EQ(written[1].generation, 20u);
  EXPECT_TRUE(storage_->take_written().empty());
  EXPECT_EQ(storage_->failure(20), "");
  EXPECT_TRUE(said_.empty());
}

TEST_F(StorageTest, ARunThatGoesOnSaysEachFailureAndWhatIsTheNewest) {
  lose_folder();
  checkpoint(10);
  EXPECT_TRUE(has(line(), "(failed once); there is no complete checkpoint yet; the run goes on"));
  find_folder();
  checkpoint(20);
  EXPECT_TRUE(has(line(), path(20) + " is written, after checkpoints had failed once"));
  lose_folder();
  for (int attempt : {1, 2, 3}) {
    checkpoint(30 + static_cast<uint64_t>(attempt));
    EXPECT_EQ(line(), fmt::format("no checkpoint of generation {}: {}: the folder of the run is "
                                  "gone: its config.ini is not there (failed {}); the newest "
                                  "complete one is {}; the run goes on and tries again when the "
                                  "next is due",
                                  30 + attempt, config_.run,
                                  attempt == 1 ? "once" : fmt::format("{} times in a row", attempt),
                                  path(20)));
  }
  EXPECT_FALSE(storage_->must_stop());
  find_folder();
  checkpoint(40, CheckpointWish::last);
  EXPECT_TRUE(has(line(), "had failed 3 times in a row"));
  EXPECT_EQ(storage_->failure(40), "");
}

TEST_F(StorageTest, ADiskThatRefusesTheFileIsTheSame) {
  checkpoint(10);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit full{5000, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &full);
  checkpoint(20);
  setrlimit(RLIMIT_FSIZE, &before);
  const std::string said = line();
  EXPECT_TRUE(
      has(said, "no checkpoint of generation 20: " + path(20) + ".partial: cannot write: ") &&
      has(said, "File too large (failed once); the newest complete one is " + path(10)))
      << said;
  EXPECT_TRUE(fs::exists(path(10)));
  EXPECT_FALSE(fs::exists(path(20) + ".partial"));
}

TEST_F(StorageTest, ARunThatIsToStopStopsAndHasFailedEvenIfItsLastCheckpointIsWritten) {
  config_.on_storage_failure = OnStorageFailure::stop;
  open();
  checkpoint(10);
  EXPECT_FALSE(storage_->must_stop());
  lose_folder();
  checkpoint(20);
  EXPECT_TRUE(storage_->must_stop());
  EXPECT_TRUE(has(line(), "the newest complete one is " + path(10) + "; the run stops"));
  find_folder();
  checkpoint(21, CheckpointWish::last);
  EXPECT_EQ(storage_->failure(21),
            "stopped after generation 21, as the disk had failed; the newest complete one is " +
                path(21));
}

TEST_F(StorageTest, ALastCheckpointThatCannotBeWrittenIsAFailureAndSaysWhatIsLost) {
  for (OnStorageFailure rule : {OnStorageFailure::go_on, OnStorageFailure::stop}) {
    config_.on_storage_failure = rule;
    open();
    checkpoint(10);
    const fs::path in_the_way = path(25);  // a folder of that name cannot be replaced by a file
    fs::create_directories(in_the_way / "full");
    checkpoint(25, CheckpointWish::last);
    const std::string words = storage_->failure(25);
    EXPECT_TRUE(has(words, "the last checkpoint cannot be written: " + path(25)) &&
                has(words, "lost are generations 11 to 25; the newest complete one is " + path(10) +
                               ", go on with: eggroll train --resume " + config_.run))
        << words;
    EXPECT_TRUE(said_.empty());  // said once, at the end
    fs::remove_all(in_the_way);
  }
}

TEST_F(StorageTest, AResumedRunKnowsWhatItCameFrom) {
  checkpoint(10);
  config_.resume = config_.run;
  open(10);
  lose_folder();
  checkpoint(15, CheckpointWish::last);
  EXPECT_TRUE(has(storage_->failure(15),
                  "lost are generations 11 to 15; the newest complete one "
                  "is " +
                      path(10)));
  find_folder();
}

TEST_F(StorageTest, MetricsThatCannotBeWrittenAreSaidOnceAndWhenTheyAreBack) {
  metrics_->append("1");
  lose_folder();
  for (int i = 0; i < 3; ++i) {
    metrics_->append("2");
    storage_->review();
  }
  EXPECT_EQ(line(), config_.run +
                        "/metrics.jsonl: cannot open: No such file or directory; there "
                        "is no complete checkpoint yet; the run goes on and keeps its "
                        "records in memory until they can be written");
  EXPECT_TRUE(has(storage_->failure(5), "lost are the records of 3 generations"));
  find_folder();
  EXPECT_EQ(storage_->failure(5), "");
  EXPECT_TRUE(has(line(), "written again, with the 3 records that had waited"));
  EXPECT_EQ(test::read_text(folder_ / "run/metrics.jsonl"), "1\n2\n2\n2\n");
}

TEST_F(StorageTest, MetricsThatCannotBeWrittenStopARunThatIsToStop) {
  config_.on_storage_failure = OnStorageFailure::stop;
  open();
  lose_folder();
  metrics_->append("1");
  storage_->review();
  EXPECT_TRUE(storage_->must_stop());
  EXPECT_TRUE(has(line(), "; the run stops"));
  find_folder();
}

TEST_F(StorageTest, MetricsThatFillTheirMemoryStopAnyRun) {
  open(0, 30);
  lose_folder();
  metrics_->append("0123456789");
  storage_->review();
  EXPECT_FALSE(storage_->must_stop());
  said_.clear();
  for (int i = 0; i < 2; ++i) metrics_->append("0123456789");
  storage_->review();
  EXPECT_TRUE(storage_->must_stop());
  EXPECT_TRUE(has(line(), "3 records wait in memory, no more fit"));
  find_folder();
}

}  // namespace
}  // namespace eggroll
