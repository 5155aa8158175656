#include "common/files/checkpoint_folder.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::Content;
using test::files_in;
using test::has;
using test::refusal;
using test::sample_content;
using test::small_layout;
using test::write_checkpoint;

TEST(CheckpointFolder, PathsCarryTheGenerationInNineDigits) {
  EXPECT_EQ(checkpoint_path("a/run", 1000), "a/run/checkpoint-000001000.h5");
  EXPECT_EQ(checkpoint_path("run", 4294967294), "run/checkpoint-4294967294.h5");
}

TEST(CheckpointFolder, ListsNewestFirstAndOnlyCheckpoints) {
  const test::ScratchFolder folder;
  for (const char* name :
       {"checkpoint-000000009.h5", "checkpoint-000000010.h5", "checkpoint-1000000000.h5",
        "checkpoint-000000011.h5.partial", "checkpoint-12.h5", "checkpoint-.h5",
        "checkpoint-00000001x.h5", "checkpoint-0000000013.h5", "other.h5", "config.ini",
        "checkpoint-99999999999999999999.h5", "checkpoint-000000014.h5/file"})
    folder.write(name, "");
  const std::vector<fs::path> expected = {checkpoint_path(folder.path(), 1000000000),
                                          checkpoint_path(folder.path(), 10),
                                          checkpoint_path(folder.path(), 9)};
  EXPECT_EQ(list_checkpoints(folder.path()), expected);
  EXPECT_TRUE(list_checkpoints(folder / "missing").empty());
  EXPECT_NE(refusal([&] { list_checkpoints(folder / "config.ini"); }), "no error");
}

TEST(CheckpointFolder, OfARunIsThatOfTheRealFileWhateverItsName) {
  const test::ScratchFolder folder;
  const fs::path real = fs::canonical(folder.path());
  const fs::path checkpoint = folder.write("exp.h5/checkpoint-000000003.h5", "");
  fs::create_directory(folder / "elsewhere");
  fs::create_symlink("../exp.h5/checkpoint-000000003.h5", folder / "elsewhere/latest.h5");
  fs::create_symlink("latest.h5", folder / "elsewhere/checkpoint-000000009.h5");
  fs::create_symlink("../exp.h5", folder / "elsewhere/run");
  EXPECT_EQ(run_folder_of(checkpoint), folder / "exp.h5");
  EXPECT_EQ(run_folder_of(folder / "exp.h5"), folder / "exp.h5");
  EXPECT_EQ(run_folder_of(folder / "elsewhere/latest.h5"), real / "exp.h5");
  EXPECT_EQ(run_folder_of(folder / "elsewhere/checkpoint-000000009.h5"), real / "exp.h5");
  EXPECT_EQ(run_folder_of(folder / "elsewhere/run"), folder / "elsewhere/run");
  EXPECT_EQ(run_folder_of("checkpoint-000000001.h5"), ".");
  for (const char* name : {"best.hdf5", "best.h5", "exp.h5/copy.h5"})
    EXPECT_EQ(run_folder_of(folder.write(name, "")), std::nullopt) << name;
}

TEST(CheckpointFolder, TheNewestThatVerifiesIsTakenAndDamagedOnesAreNamed) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 3);
  std::vector<std::pair<fs::path, std::string>> passed_over;
  const auto newest = [&] {
    passed_over.clear();
    return newest_checkpoint(folder.path(),
                             [&](const fs::path& path, const std::string& why) {
                               passed_over.emplace_back(path, why);
                             })
        .path();
  };
  EXPECT_EQ(refusal(newest), folder.path().string() + ": holds no checkpoint");

  for (uint64_t generation : {1, 2, 3, 4})
    write_checkpoint(checkpoint_path(folder.path(), generation), layout, content);
  folder.write("checkpoint-000000009.h5.partial", "");
  EXPECT_EQ(newest(), checkpoint_path(folder.path(), 4));
  EXPECT_TRUE(passed_over.empty());

  // One is cut short, in the other one state differs.
  fs::resize_file(checkpoint_path(folder.path(), 4), 1000);
  std::string text = test::read_text(checkpoint_path(folder.path(), 3));
  const std::string states(reinterpret_cast<const char*>(content.states.data()),
                           content.states.size());
  ASSERT_NE(text.find(states), std::string::npos);
  text[text.find(states) + 5] ^= 1;
  folder.write("checkpoint-000000003.h5", text);
  EXPECT_EQ(newest(), checkpoint_path(folder.path(), 2));
  ASSERT_EQ(passed_over.size(), 2u);
  EXPECT_EQ(passed_over[0].first, checkpoint_path(folder.path(), 4));
  EXPECT_TRUE(has(passed_over[0].second, "checkpoint-000000004.h5: cannot read: truncated file"));
  EXPECT_EQ(passed_over[1].first, checkpoint_path(folder.path(), 3));
  EXPECT_TRUE(has(passed_over[1].second, "checkpoint-000000003.h5: damaged"));

  for (uint64_t generation : {1, 2}) fs::resize_file(checkpoint_path(folder.path(), generation), 0);
  EXPECT_EQ(refusal(newest), folder.path().string() + ": none of its 4 checkpoints can be read");
}

// A run that goes on writing removes what was listed before it could be read.
TEST(CheckpointFolder, TheNewestIsFoundInAFolderThatIsPrunedMeanwhile) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 3);
  for (uint64_t generation : {1, 2, 3})
    write_checkpoint(checkpoint_path(folder.path(), generation), layout, content);
  fs::resize_file(checkpoint_path(folder.path(), 3), 1000);
  std::vector<fs::path> passed_over;
  const auto newest =
      newest_checkpoint(folder.path(), [&](const fs::path& path, const std::string&) {
        passed_over.push_back(path);
        write_checkpoint(checkpoint_path(folder.path(), 4), layout, content);
        prune_checkpoints(folder.path(), 2, 4);
      });
  EXPECT_EQ(newest.path(), checkpoint_path(folder.path(), 4));
  EXPECT_EQ(passed_over, std::vector<fs::path>{checkpoint_path(folder.path(), 3)});

  // All but the damaged one go, and it is named once.
  passed_over.clear();
  fs::resize_file(checkpoint_path(folder.path(), 4), 1000);
  const auto all_others_go = [&](const fs::path& path, const std::string&) {
    passed_over.push_back(path);
    fs::remove(checkpoint_path(folder.path(), 3));
  };
  EXPECT_EQ(refusal([&] { newest_checkpoint(folder.path(), all_others_go); }),
            folder.path().string() + ": none of its 1 checkpoints can be read");
  EXPECT_EQ(passed_over, std::vector<fs::path>{checkpoint_path(folder.path(), 4)});
}

TEST(CheckpointFolder, PruningKeepsTheNewestAndRemovesPartialFiles) {
  const test::ScratchFolder folder;
  for (uint64_t generation : {5, 10, 100, 20})
    folder.write(checkpoint_path("", generation).string(), "");
  for (const char* name : {"checkpoint-000000200.h5.partial", "other.h5.partial", "config.ini",
                           "other.h5", "metrics.jsonl.partial"})
    folder.write(name, "");
  prune_checkpoints(folder.path(), 2, 100);
  const std::vector<fs::path> expected = {checkpoint_path(folder.path(), 100),
                                          checkpoint_path(folder.path(), 20)};
  EXPECT_EQ(list_checkpoints(folder.path()), expected);
  EXPECT_EQ(files_in(folder.path()), 5u);  // and config.ini, other.h5, metrics.jsonl.partial
  prune_checkpoints(folder.path(), 100, 100);
  EXPECT_EQ(list_checkpoints(folder.path()), expected);
  EXPECT_NE(refusal([&] { prune_checkpoints(folder.path(), 0, 100); }), "no error");
  prune_checkpoints(folder / "missing", 1, 100);
}

// A run that passed over damaged checkpoints 40 and 50 and has just written 25.
TEST(CheckpointFolder, PruningLeavesLaterOnesAndDoesNotCountThem) {
  const test::ScratchFolder folder;
  for (uint64_t generation : {10, 20, 25, 40, 50})
    folder.write(checkpoint_path("", generation).string(), "");
  prune_checkpoints(folder.path(), 2, 25);
  std::vector<fs::path> expected;
  for (uint64_t generation : {50, 40, 25, 20})
    expected.push_back(checkpoint_path(folder.path(), generation));
  EXPECT_EQ(list_checkpoints(folder.path()), expected);
}

}  // namespace
}  // namespace eggroll
