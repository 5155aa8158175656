// The thread that brings snapshots to the disk: what it leaves there, what it says, and what it
// leaves behind when a snapshot is given up or the disk fails.
#include "coordinator/records/snapshot_writer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "common/files/checkpoint_folder.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::Content;
using test::has;
using test::kSlotBytes;

class SnapshotWriterTest : public testing::Test {
 protected:
  SnapshotWriterSettings settings(const fs::path& run, uint64_t budget = kSnapshotBudgetBytes) {
    return {.run = run, .keep_checkpoints = 2, .budget_bytes = budget};
  }
  Content content(uint64_t generation, uint64_t slots = 5) {
    Content content = test::sample_content(test::small_layout(), slots);
    content.header.generation = generation;
    return content;
  }
  // Without the digest, which is the writer's to find.
  static void begin(SnapshotWriter& writer, const Content& content) {
    CheckpointHeader header = content.header;
    header.parameters_digest.clear();
    writer.begin({header, test::small_layout(), content.arenas});
  }
  static void append(SnapshotWriter& writer, const Content& content, uint64_t first,
                     uint64_t slots) {
    const auto from = content.states.begin() + static_cast<ptrdiff_t>(first * kSlotBytes);
    writer.append_states({from, from + static_cast<ptrdiff_t>(slots * kSlotBytes)});
  }
  // The one outcome there is.
  static SnapshotOutcome outcome_of(SnapshotWriter& writer) {
    writer.wait();
    EXPECT_FALSE(writer.is_busy());
    const std::vector<SnapshotOutcome> outcomes = writer.take_outcomes();
    EXPECT_EQ(outcomes.size(), 1u);
    return outcomes.empty() ? SnapshotOutcome() : outcomes.front();
  }
  static SnapshotOutcome write(SnapshotWriter& writer, const Content& content) {
    begin(writer, content);
    append(writer, content, 0, content.header.state_slots);
    writer.commit();
    return outcome_of(writer);
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  test::ScratchFolder folder_;
};

TEST_F(SnapshotWriterTest, WhatIsCommittedIsOnTheDiskAndReadsBackTheSame) {
  SnapshotWriter writer(settings(folder_.path()));
  for (uint64_t generation : {1, 2, 3}) {
    const Content written = content(generation);
    begin(writer, written);
    EXPECT_TRUE(writer.is_busy());
    append(writer, written, 0, 2);
    append(writer, written, 2, 3);
    writer.commit();
    const SnapshotOutcome outcome = outcome_of(writer);
    EXPECT_EQ(outcome.error + outcome.prune_error, "");
    EXPECT_EQ(outcome.generation, generation);
    EXPECT_GT(outcome.write_s, 0);
    const fs::path path = checkpoint_path(folder_.path(), generation);
    EXPECT_EQ(outcome.bytes, fs::file_size(path));
    test::expect_same(test::read_checkpoint(path, test::small_layout()), written);
  }
  EXPECT_EQ(files(),
            (std::vector<std::string>{"checkpoint-000000002.h5", "checkpoint-000000003.h5"}));
}

TEST_F(SnapshotWriterTest, NoMoreThanTheBudgetWaits) {
  const Content written = content(1, 500);
  for (uint64_t budget : {uint64_t{1}, kSlotBytes, 5 * kSlotBytes}) {
    SnapshotWriter writer(settings(folder_.path(), budget));
    begin(writer, written);
    for (uint64_t slot = 0; slot < 500; ++slot) {
      append(writer, written, slot, 1);
      // A slice larger than the budget is taken when none waits.
      EXPECT_LE(writer.queued_bytes(), std::max(budget, kSlotBytes));
    }
    writer.commit();
    EXPECT_EQ(outcome_of(writer).error, "");
    test::expect_same(
        test::read_checkpoint(checkpoint_path(folder_.path(), 1), test::small_layout()), written);
  }
}

TEST_F(SnapshotWriterTest, OneGivenUpLeavesNothingAndTheNextIsWritten) {
  SnapshotWriter writer(settings(folder_.path()));
  for (int slots_before : {0, 2, 5}) {
    begin(writer, content(1));
    append(writer, content(1), 0, static_cast<uint64_t>(slots_before));
    writer.abandon();
    EXPECT_EQ(write(writer, content(2)).error, "");
    EXPECT_EQ(files(), std::vector<std::string>{"checkpoint-000000002.h5"});
    writer.abandon();  // of none is nothing
  }
}

TEST_F(SnapshotWriterTest, TheEndOfTheWriterAbandonsWhatIsNotCommittedAndFinishesWhatIs) {
  for (bool is_begun : {false, true}) {
    {
      SnapshotWriter writer(settings(folder_.path()));
      if (is_begun) {
        begin(writer, content(1));
        append(writer, content(1), 0, 3);
      }
    }
    EXPECT_EQ(files(), std::vector<std::string>{});
  }
  {
    SnapshotWriter writer(settings(folder_.path()));
    begin(writer, content(1));
    append(writer, content(1), 0, 5);
    writer.commit();
  }
  test::expect_same(test::read_checkpoint(checkpoint_path(folder_.path(), 1), test::small_layout()),
                    content(1));
}

TEST_F(SnapshotWriterTest, AFolderThatIsGoneIsAnOutcomeAndHoldsNobodyUp) {
  SnapshotWriter writer(settings(folder_ / "gone", 1));
  const Content written = content(1, 100);
  for (int attempt = 0; attempt < 2; ++attempt) {
    begin(writer, written);
    for (uint64_t slot = 0; slot < 100; ++slot) append(writer, written, slot, 1);
    writer.commit();
    const SnapshotOutcome outcome = outcome_of(writer);
    EXPECT_TRUE(has(outcome.error, "checkpoint-000000001.h5.partial: cannot create: ") &&
                has(outcome.error, "No such file or directory"))
        << outcome.error;
  }
  fs::create_directory(folder_ / "gone");
  EXPECT_EQ(write(writer, written).error, "");
}

TEST_F(SnapshotWriterTest, MissingStatesAreAnErrorAndNoFile) {
  SnapshotWriter writer(settings(folder_.path()));
  begin(writer, content(1));
  append(writer, content(1), 0, 4);  // of 5
  writer.commit();
  EXPECT_NE(outcome_of(writer).error, "");
  EXPECT_EQ(files(), std::vector<std::string>{});
}

// The library keeps what it cannot write: neither descriptors nor room are lost to it.
TEST_F(SnapshotWriterTest, ADiskThatStaysFullCostsNoDescriptors) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const auto descriptors = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  SnapshotWriter writer(settings(folder_.path()));
  EXPECT_EQ(write(writer, content(1)).error, "");
  const auto size = static_cast<rlim_t>(fs::file_size(checkpoint_path(folder_.path(), 1)));
  const auto at_first = descriptors();
  for (rlim_t limit : {rlim_t{2000}, size / 2, size - 1}) {
    const rlimit full{limit, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &full);
    const SnapshotOutcome outcome = write(writer, content(2));
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_TRUE(has(outcome.error, "File too large")) << outcome.error;
    EXPECT_EQ(files(), std::vector<std::string>{"checkpoint-000000001.h5"});
  }
  EXPECT_EQ(descriptors(), at_first);
  EXPECT_EQ(write(writer, content(2)).error, "");
}

}  // namespace
}  // namespace eggroll
