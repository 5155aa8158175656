#include "common/files/checkpoint.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <xxhash.h>

#include <csignal>
#include <limits>
#include <string>
#include <vector>

#include "common/files/checkpoint_folder.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::Content;
using test::expect_same;
using test::files_in;
using test::float_layout;
using test::has;
using test::kAccumulators;
using test::kAdamSlots;
using test::kNoSlots;
using test::kSlotBytes;
using test::kSlotShape;
using test::read_checkpoint;
using test::refusal;
using test::sample_content;
using test::small_layout;
using test::write_checkpoint;

std::span<const std::byte> bytes(const auto& values) { return std::as_bytes(std::span(values)); }

TEST(Checkpoint, DigestIsXxh3OfOneArenaAfterAnother) {
  const std::vector<int8_t> parameters = {1, -2, 3};
  const std::vector<int32_t> accumulators = {-1, 7};
  const std::span<const std::byte> arenas[] = {bytes(parameters), bytes(accumulators)};
  EXPECT_EQ(arenas_digest({}), "2d06800538d394c2");  // XXH3-64 of nothing
  EXPECT_EQ(arenas_digest(std::span(arenas).first(1)),
            fmt::format("{:016x}", XXH3_64bits(parameters.data(), 3)));
  const unsigned char both[] = {1, 0xFE, 3, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0, 0, 0};
  EXPECT_EQ(arenas_digest(arenas), fmt::format("{:016x}", XXH3_64bits(both, sizeof both)));
}

TEST(Checkpoint, WhatIsWrittenReadsBackTheSame) {
  const test::ScratchFolder folder;
  for (const ParameterLayout& layout : {small_layout(), float_layout()})
    for (uint64_t states : {0, 1, 7})
      for (const std::vector<SlotInfo>& slots : {kNoSlots, kAccumulators, kAdamSlots}) {
        const Content content = sample_content(layout, states, slots);
        write_checkpoint(folder / "x.h5", layout, content);  // replaces the one before
        expect_same(read_checkpoint(folder / "x.h5", layout), content);
        const CheckpointReader reader(folder / "x.h5");
        EXPECT_TRUE(reader.is_complete());
        // The file alone is enough.
        EXPECT_EQ(reader.layout().text(), layout.text());
        expect_same(read_checkpoint(folder / "x.h5", reader.layout()), content);
      }
  EXPECT_EQ(files_in(folder.path()), 1u);
}

TEST(Checkpoint, FrozenTensorsAreStoredAndHaveNoSlots) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = float_layout();
  const Content content = sample_content(layout, 0, kAdamSlots);
  write_checkpoint(folder / "x.h5", layout, content);
  const CheckpointReader reader(folder / "x.h5");
  EXPECT_EQ(reader.read_parameters(layout).size(), 5 * 3 * 4 + 12 * 4 + 4 + 40 + 8 + 28);
  EXPECT_EQ(reader.read_slot(layout, "adam_v", Element::float32).size(), (12 + 10 + 2 + 7) * 4);
  EXPECT_TRUE(reader.read_slot(layout, "accumulators", Element::int32).empty());
  EXPECT_EQ(refusal([&] { reader.read_slot(layout, "adam_v", Element::int32); }),
            (folder / "x.h5").string() + ": adam_v/layers.10.W holds float32, needed is int32");
  // A tensor that is trained after all has nothing there.
  ParameterLayout other;
  for (const TensorSpec& t : layout.tensors())
    other.add(t.name, t.role, t.name == "mask" ? Noise::product : t.noise, t.element, t.rows,
              t.cols);
  EXPECT_EQ(reader.read_parameters(other), content.arenas.arenas[0]);
  EXPECT_TRUE(has(refusal([&] { reader.read_slot(other, "adam_m", Element::float32); }),
                  ": adam_m/mask is missing"));
}

TEST(Checkpoint, SumsOf64BitsAreStoredAsSuch) {
  const test::ScratchFolder folder;
  ParameterLayout layout;
  layout.add("seen", Role::vector, Noise::none, Element::int64, 5, 1);
  layout.add("w", Role::vector, Noise::full, Element::float32, 3, 1);
  const Content content = sample_content(layout, 0, kAdamSlots);
  write_checkpoint(folder / "x.h5", layout, content);
  const CheckpointReader reader(folder / "x.h5");
  reader.verify();
  EXPECT_EQ(reader.layout().text(), layout.text());
  EXPECT_EQ(reader.read_parameters(layout), content.arenas.arenas[0]);
  ParameterLayout other;
  other.add("seen", Role::vector, Noise::none, Element::float32, 5, 1);
  other.add("w", Role::vector, Noise::full, Element::float32, 3, 1);
  EXPECT_TRUE(has(refusal([&] { reader.read_parameters(other); }),
                  "parameters/seen holds int64, needed is float32"));
}

TEST(Checkpoint, TheDigestInTheFileIsThatOfItsArenas) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = float_layout();
  Content content = sample_content(layout, 0, kAdamSlots);
  content.header.parameters_digest = content.header.layout = "";  // the writer's own
  write_checkpoint(folder / "x.h5", layout, content);
  const Content read = read_checkpoint(folder / "x.h5", layout);
  EXPECT_EQ(read.header.parameters_digest, arenas_digest(content.arenas.spans()));
  EXPECT_EQ(read.header.layout, layout.text());
}

// What attributes of HDF5 usually hold is 64 KiB.
TEST(Checkpoint, ALayoutMayBeLong) {
  const test::ScratchFolder folder;
  ParameterLayout layout;
  const std::string prefix(50, 'a');
  for (size_t i = 0; i < ParameterLayout::kMaxTensors; ++i)
    layout.add(prefix + std::to_string(i), Role::vector, Noise::full, Element::int8, 1, 1);
  ASSERT_GT(layout.text().size(), size_t{1} << 18);
  const Content content = sample_content(layout, 0, kNoSlots);
  write_checkpoint(folder / "x.h5", layout, content);
  expect_same(read_checkpoint(folder / "x.h5", layout), content);
}

TEST(Checkpoint, StatesAreReadInSlices) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 7);
  write_checkpoint(folder / "x.h5", layout, content);
  const CheckpointReader reader(folder / "x.h5");
  std::vector<std::byte> two(2 * kSlotBytes);
  reader.read_states(4, two);
  EXPECT_TRUE(std::equal(two.begin(), two.end(), content.states.begin() + 4 * kSlotBytes));
  reader.read_states(7, {});
  EXPECT_TRUE(has(refusal([&] { reader.read_states(6, two); }),
                  "x.h5: holds states 0 to 6, asked for 2 from 6 on"));
  EXPECT_TRUE(has(refusal([&] { reader.read_states(std::numeric_limits<uint64_t>::max(), two); }),
                  "asked for 2 from 18446744073709551615 on"));
}

TEST(Checkpoint, OtherStatesThanTheRunNeedsAreRefused) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  write_checkpoint(folder / "none.h5", layout, sample_content(layout, 0));
  write_checkpoint(folder / "x.h5", layout, sample_content(layout, 7));
  const CheckpointReader none(folder / "none.h5"), seven(folder / "x.h5");
  const auto words = [&](const CheckpointReader& reader, uint64_t slots,
                         std::vector<uint64_t> slot_shape) {
    const std::string text = refusal([&] { reader.expect_states(slots, slot_shape); });
    const std::string start = reader.path().string() + ": ";
    return text.starts_with(start) ? text.substr(start.size()) : text;
  };
  EXPECT_EQ(words(none, 0, {}), "no error");
  EXPECT_EQ(words(none, 0, kSlotShape), "no error");
  EXPECT_EQ(words(seven, 7, kSlotShape), "no error");
  EXPECT_EQ(words(seven, 8, kSlotShape), "states: [7, 2, 4], the run needs [8, 2, 4]");
  EXPECT_EQ(words(seven, 7, {8}), "states: [7, 2, 4], the run needs [7, 8]");
  EXPECT_EQ(words(seven, 0, {}), "states: [7, 2, 4], the run needs none");
  EXPECT_EQ(words(none, 2, {8}), "states: none, the run needs [2, 8]");
}

TEST(Checkpoint, StatesHaveAnyShape) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  for (const std::vector<uint64_t>& shape :
       {std::vector<uint64_t>{}, {8}, {2, 2, 2, 1}, {1, 8, 1}}) {
    Content content = sample_content(layout, 2);
    content.header.slot_shape = shape;
    if (shape.empty()) content.header.state_slots = 2 * kSlotBytes;
    write_checkpoint(folder / "x.h5", layout, content);
    const CheckpointReader reader(folder / "x.h5");
    reader.verify();
    reader.expect_states(content.header.state_slots, shape);
    std::vector<std::byte> states(content.states.size());
    reader.read_states(0, states);
    EXPECT_EQ(states, content.states);
  }
}

TEST(Checkpoint, TheSameContentHasTheSameChecksumHoweverItCame) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 7);
  write_checkpoint(folder / "1.h5", layout, content, 7);
  write_checkpoint(folder / "2.h5", layout, content, 1);
  EXPECT_EQ(test::read_text(folder / "1.h5"), test::read_text(folder / "2.h5"));
}

TEST(Checkpoint, AnUnfinishedFileIsNeverSeenAndGoesAway) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const Content content = sample_content(layout, 2);
  {
    CheckpointWriter writer(checkpoint_path(folder.path(), 1), layout, content.header,
                            content.arenas.spans());
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
  const ParameterLayout layout = float_layout();
  const Content content = sample_content(layout, 2, kAdamSlots);
  const auto words = [&](const auto& change) {
    Content changed = content;
    change(changed);
    return refusal(
        [&] { CheckpointWriter(folder / "x.h5", layout, changed.header, changed.arenas.spans()); });
  };
  EXPECT_EQ(words([](Content&) {}), "no error");
  const std::string no_arenas =
      "internal promise broken: checkpoint: an arena of parameters, and one for each slot, by the "
      "layout";
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(words([i](Content& c) { c.arenas.arenas[i].pop_back(); }), no_arenas);
  EXPECT_EQ(words([](Content& c) { c.arenas.arenas.pop_back(); }), no_arenas);
  EXPECT_EQ(words([](Content& c) { c.header.slots.pop_back(); }), no_arenas);
  // The byte after `mask`.
  EXPECT_EQ(words([](Content& c) { c.arenas.arenas[0][5 * 3 * 4 + 12 * 4 + 3] = std::byte{1}; }),
            "internal promise broken: checkpoint: nothing between tensors");
  for (const char* name : {"parameters", "states", "task", "", "a b", "a\nb", "a/b", "Adam"})
    EXPECT_NE(words([name](Content& c) { c.header.slots[1].name = name; }), "no error") << name;
  EXPECT_NE(words([](Content& c) { c.header.slots[1].name = "adam_m"; }), "no error");
  EXPECT_NE(words([](Content& c) { c.header.slot_shape = {2, 0}; }), "no error");
  EXPECT_NE(words([](Content& c) { c.header.slot_shape = {2, 1, 1, 2, 2}; }), "no error");
  EXPECT_EQ(files_in(folder.path()), 0u);

  CheckpointWriter full(folder / "x.h5", layout, content.header, content.arenas.spans());
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
  const Content content = sample_content(layout, 0);
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
  EXPECT_TRUE(
      has(refusal([&] { write_checkpoint(folder / "x.h5", layout, sample_content(layout, 0)); }),
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
  ParameterLayout layout;  // a file of half a megabyte
  for (const char* name : {"a", "b", "c"})
    layout.add(name, Role::matrix, Noise::low_rank, Element::int8, 256, 128);
  const Content before = sample_content(layout, 1);
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
  write_checkpoint(folder / "x.h5", layout, sample_content(layout, 0));
  const CheckpointReader reader(folder / "x.h5");
  const auto words = [&](auto change) {
    ParameterLayout other;
    for (TensorSpec tensor : layout.tensors()) {
      change(tensor);
      if (tensor.rows > 0)
        other.add(tensor.name, tensor.role, tensor.noise, tensor.element, tensor.rows, tensor.cols);
    }
    const std::string parameters = refusal([&] { reader.read_parameters(other); });
    return parameters.substr(parameters.find("x.h5"));
  };
  EXPECT_EQ(words([](TensorSpec& t) { t.rows += t.name == "emb"; }),
            "x.h5: parameters/emb has shape [6, 4], the model needs [7, 4]");
  EXPECT_EQ(words([](TensorSpec& t) { t.cols -= t.name == "layers.2.Wf"; }),
            "x.h5: parameters/layers.2.Wf has shape [3, 5], the model needs [3, 4]");
  EXPECT_EQ(words([](TensorSpec& t) {
              if (t.name == "bias") t.role = Role::matrix;
            }),
            "x.h5: parameters/bias has shape [7], the model needs [7, 1]");
  EXPECT_EQ(words([](TensorSpec& t) {
              if (t.name == "bias") t.name = "bh";
            }),
            "x.h5: parameters/bh is missing");
  EXPECT_EQ(words([](TensorSpec& t) { t.rows *= t.name != "bias"; }),
            "x.h5: parameters holds 4 tensors, the model has 3");
  EXPECT_EQ(words([](TensorSpec& t) {
              if (t.name == "bias") t.element = Element::float32;
            }),
            "x.h5: parameters/bias holds int8, needed is float32");
}

TEST(Checkpoint, MissingStatesAreAnErrorAndMissingSlotsAreNone) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  write_checkpoint(folder / "x.h5", layout, sample_content(layout, 0, kNoSlots));
  const CheckpointReader reader(folder / "x.h5");
  std::vector<std::byte> one(kSlotBytes);
  EXPECT_TRUE(has(refusal([&] { reader.read_states(0, one); }), "x.h5: holds no states"));
  EXPECT_TRUE(reader.read_slot(layout, "accumulators", Element::int32).empty());
}

}  // namespace
}  // namespace eggroll
