#include "common/files/checkpoint.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <xxhash.h>

#include <csignal>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "common/files/checkpoint_folder.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::Content;
using test::expect_same;
using test::has;
using test::kShape;
using test::kSlotBytes;
using test::read_checkpoint;
using test::refusal;
using test::sample_content;
using test::small_layout;
using test::write_checkpoint;

size_t files_in(const fs::path& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Checkpoint, DigestIsXxh3OfParametersThenAccumulators) {
  const std::vector<int8_t> parameters = {1, -2, 3};
  const std::vector<int32_t> accumulators = {-1, 7};
  EXPECT_EQ(parameters_digest({}, {}), "2d06800538d394c2");  // XXH3-64 of nothing
  EXPECT_EQ(parameters_digest(parameters, {}),
            fmt::format("{:016x}", XXH3_64bits(parameters.data(), 3)));
  const unsigned char both[] = {1, 0xFE, 3, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0, 0, 0};
  EXPECT_EQ(parameters_digest(parameters, accumulators),
            fmt::format("{:016x}", XXH3_64bits(both, sizeof both)));
}

TEST(Checkpoint, WhatIsWrittenReadsBackTheSame) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  for (uint64_t slots : {0, 1, 7})
    for (bool has_accumulators : {false, true}) {
      const Content content = sample_content(layout, slots, has_accumulators);
      write_checkpoint(folder / "x.h5", layout, content);  // replaces the one before
      expect_same(read_checkpoint(folder / "x.h5", layout), content);
      EXPECT_TRUE(CheckpointReader(folder / "x.h5").is_complete());
    }
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(Checkpoint, HoldsALanguageModel) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = int_rnn_layout({12, 16});
  Content content = sample_content(layout, 0, true);
  write_checkpoint(folder / "x.h5", layout, content);
  expect_same(read_checkpoint(folder / "x.h5", layout), content);
}

TEST(Checkpoint, StatesAreReadInSlices) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 7, true);
  write_checkpoint(folder / "x.h5", layout, content);
  const CheckpointReader reader(folder / "x.h5");
  std::vector<int8_t> two(2 * kSlotBytes);
  reader.read_states(4, two, kShape);
  EXPECT_TRUE(std::equal(two.begin(), two.end(), content.states.begin() + 4 * kSlotBytes));
  reader.read_states(7, {}, kShape);
  EXPECT_TRUE(has(refusal([&] { reader.read_states(6, two, kShape); }),
                  "x.h5: holds states 0 to 6, asked for 2 from 6 on"));
  EXPECT_TRUE(
      has(refusal([&] { reader.read_states(std::numeric_limits<uint64_t>::max(), two, kShape); }),
          "asked for 2 from 18446744073709551615 on"));
  EXPECT_TRUE(has(refusal([&] {
                    reader.read_states(0, two, {1, 8});
                  }),
                  "states have shape [7, 2, 4], the model needs [7, 1, 8]"));
}

TEST(Checkpoint, TheSameContentHasTheSameChecksumHoweverItCame) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 7, true);
  write_checkpoint(folder / "1.h5", layout, content, 7);
  write_checkpoint(folder / "2.h5", layout, content, 1);
  EXPECT_EQ(test::read_text(folder / "1.h5"), test::read_text(folder / "2.h5"));
}

TEST(Checkpoint, AnUnfinishedFileIsNeverSeenAndGoesAway) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 2, true);
  {
    CheckpointWriter writer(checkpoint_path(folder.path(), 1), layout, kShape, content.header,
                            content.parameters, content.accumulators);
    EXPECT_TRUE(fs::exists(folder / "checkpoint-000000001.h5.partial"));
    EXPECT_FALSE(fs::exists(folder / "checkpoint-000000001.h5"));
    EXPECT_TRUE(list_checkpoints(folder.path()).empty());
    // One slot is missing still.
    writer.append_states(std::span(content.states).first(kSlotBytes));
    EXPECT_NE(refusal([&] { writer.finish(); }), "no error");
    EXPECT_FALSE(fs::exists(folder / "checkpoint-000000001.h5"));
  }
  EXPECT_EQ(files_in(folder.path()), 0u);
}

TEST(Checkpoint, TheWriterRefusesWhatDoesNotFit) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 2, true);
  const auto writer = [&](size_t parameters, size_t accumulators) {
    return refusal([&] {
      CheckpointWriter(folder / "x.h5", layout, kShape, content.header,
                       std::span(content.parameters).first(parameters),
                       std::span(content.accumulators).first(accumulators));
    });
  };
  EXPECT_EQ(writer(layout.size(), layout.size()), "no error");
  EXPECT_NE(writer(layout.size() - 1, layout.size()), "no error");
  EXPECT_NE(writer(layout.size(), layout.size() - 1), "no error");
  CheckpointWriter full(folder / "x.h5", layout, kShape, content.header, content.parameters,
                        content.accumulators);
  EXPECT_NE(refusal([&] { full.append_states(std::span(content.states).first(3)); }), "no error");
  full.append_states(content.states);
  EXPECT_NE(refusal([&] { full.append_states(std::span(content.states).first(kSlotBytes)); }),
            "no error");
  full.finish();
  expect_same(read_checkpoint(folder / "x.h5", layout), content);
}

TEST(Checkpoint, AFolderThatIsNotThereIsAnErrorWithItsPath) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 0, false);
  const std::string path = (folder / "none/x.h5").string();
  EXPECT_EQ(refusal([&] { write_checkpoint(path, layout, content); }),
            path + ".partial: cannot create: No such file or directory");
  EXPECT_EQ(refusal([&] { CheckpointReader reader(path); }),
            path + ": cannot read: No such file or directory");
}

TEST(Checkpoint, APathThatCannotBeReplacedIsAnError) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  folder.write("x.h5/file", "");
  EXPECT_TRUE(has(
      refusal([&] { write_checkpoint(folder / "x.h5", layout, sample_content(layout, 0, false)); }),
      "x.h5: cannot rename: "));
  EXPECT_EQ(files_in(folder.path()), 1u);
}

// Files of this process cannot grow beyond a size while this lives: a disk that is full.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

TEST(Checkpoint, ADiskThatFillsIsAnErrorAndLeavesWhatWasThere) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = int_rnn_layout({1, 64});
  const Content before = sample_content(layout, 1, true);
  write_checkpoint(folder / "x.h5", layout, before);
  const auto size = static_cast<rlim_t>(fs::file_size(folder / "x.h5"));
  Content after = before;
  after.header.generation = 43;
  for (rlim_t limit : {rlim_t{0}, rlim_t{100}, rlim_t{2000}, size / 10, size / 2, size - 1}) {
    std::string words;
    {
      const FileSizeLimit full(limit);
      words = refusal([&] { write_checkpoint(folder / "x.h5", layout, after); });
    }
    EXPECT_TRUE(has(words, "x.h5.partial: cannot ") && has(words, ": File too large"))
        << limit << words;
    EXPECT_EQ(files_in(folder.path()), 1u) << limit;
    expect_same(read_checkpoint(folder / "x.h5", layout), before);
  }
  write_checkpoint(folder / "x.h5", layout, after);
  expect_same(read_checkpoint(folder / "x.h5", layout), after);
}

TEST(Checkpoint, AnotherLayoutIsRefused) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  write_checkpoint(folder / "x.h5", layout, sample_content(layout, 0, true));
  const CheckpointReader reader(folder / "x.h5");
  const auto words = [&](auto change) {
    ParameterLayout other;
    for (TensorSpec tensor : layout.tensors()) {
      change(tensor);
      if (tensor.rows > 0) other.add(tensor.name, tensor.kind, tensor.rows, tensor.cols);
    }
    const std::string parameters = refusal([&] { reader.read_parameters(other); });
    EXPECT_NE(refusal([&] { reader.read_accumulators(other); }), "no error");
    return parameters.substr(parameters.find("x.h5"));
  };
  EXPECT_EQ(words([](TensorSpec& t) { t.rows += t.name == "emb"; }),
            "x.h5: parameters/emb has shape [6, 4], the model needs [7, 4]");
  EXPECT_EQ(words([](TensorSpec& t) { t.cols -= t.name == "layers.2.Wf"; }),
            "x.h5: parameters/layers.2.Wf has shape [3, 5], the model needs [3, 4]");
  EXPECT_EQ(words([](TensorSpec& t) {
              if (t.name == "bias") t.kind = TensorKind::matrix;
            }),
            "x.h5: parameters/bias has shape [7], the model needs [7, 1]");
  EXPECT_EQ(words([](TensorSpec& t) {
              if (t.name == "bias") t.name = "bh";
            }),
            "x.h5: parameters/bh is missing");
  EXPECT_EQ(words([](TensorSpec& t) { t.rows *= t.name != "bias"; }),
            "x.h5: parameters holds 4 tensors, the model has 3");
}

TEST(Checkpoint, MissingStatesAreAnErrorAndMissingAccumulatorsAreNone) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  write_checkpoint(folder / "x.h5", layout, sample_content(layout, 0, false));
  const CheckpointReader reader(folder / "x.h5");
  std::vector<int8_t> one(kSlotBytes);
  EXPECT_TRUE(has(refusal([&] { reader.read_states(0, one, kShape); }), "x.h5: holds no states"));
  EXPECT_TRUE(reader.read_accumulators(layout).empty());
}

TEST(Checkpoint, PathsCarryTheGenerationInNineDigits) {
  EXPECT_EQ(checkpoint_path("a/run", 1000), "a/run/checkpoint-000001000.h5");
  EXPECT_EQ(checkpoint_path("run", 4294967294), "run/checkpoint-4294967294.h5");
}

TEST(Checkpoint, ListsNewestFirstAndOnlyCheckpoints) {
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

TEST(Checkpoint, TheNewestThatVerifiesIsTakenAndDamagedOnesAreNamed) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 3, true);
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
  const std::string states(content.states.begin(), content.states.end());
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
TEST(Checkpoint, TheNewestIsFoundInAFolderThatIsPrunedMeanwhile) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 3, true);
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

TEST(Checkpoint, PruningKeepsTheNewestAndRemovesPartialFiles) {
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
TEST(Checkpoint, PruningLeavesLaterOnesAndDoesNotCountThem) {
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
