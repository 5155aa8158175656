// Checkpoint files that are cut short, changed, or none.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "common/files/checkpoint.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::Content;
using test::expect_same;
using test::has;
using test::kAdamSlots;
using test::read_checkpoint;
using test::refusal;
using test::sample_content;
using test::small_layout;
using test::write_checkpoint;

TEST(CheckpointFile, AFileCutShortAnywhereIsAnError) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  write_checkpoint(folder / "whole.h5", layout, sample_content(layout, 3));
  const std::string whole = test::read_text(folder / "whole.h5");
  for (size_t size = 0; size < whole.size(); size += size < 100 ? 1 : 41) {
    const fs::path cut = folder.write("cut.h5", whole.substr(0, size));
    EXPECT_TRUE(has(refusal([&] { read_checkpoint(cut, layout); }), "cut.h5: ")) << size;
  }
  const fs::path cut = folder.write("cut.h5", whole.substr(0, whole.size() - 1));
  EXPECT_NE(refusal([&] { read_checkpoint(cut, layout); }), "no error");
}

TEST(CheckpointFile, AChangedByteIsAnErrorOrChangesNothing) {
  const test::ScratchFolder folder;
  ParameterLayout layout;  // all kinds of data, and few
  layout.add("emb", Role::embedding, Noise::low_rank, Element::int8, 6, 4);
  layout.add("W", Role::matrix, Noise::none, Element::float32, 4, 3);
  layout.add("bias", Role::vector, Noise::full, Element::float32, 7, 1);
  const Content content = sample_content(layout, 3, kAdamSlots);
  write_checkpoint(folder / "x.h5", layout, content);
  const std::string whole = test::read_text(folder / "x.h5");
  // The superblock of HDF5 1.10, after which all metadata has checksums.
  ASSERT_EQ(whole.substr(1, 3), "HDF");
  ASSERT_EQ(whole[8], 3);
  const int file = open((folder / "x.h5").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  size_t detected = 0;
  for (size_t offset = 0; offset < whole.size(); ++offset) {
    const char damaged = static_cast<char>(whole[offset] ^ (1 << (offset * 5 % 8)));
    ASSERT_EQ(pwrite(file, &damaged, 1, static_cast<off_t>(offset)), 1);
    std::optional<Content> read;
    const std::string words = refusal([&] { read = read_checkpoint(folder / "x.h5", layout); });
    if (read)
      expect_same(*read, content);
    else
      ++detected;
    EXPECT_EQ(words.find_first_of("\n\r"), std::string::npos) << words;
    ASSERT_EQ(pwrite(file, &whole[offset], 1, static_cast<off_t>(offset)), 1);
  }
  close(file);
  // Every byte of data matters: parameters, two slots of the 31 trained ones, states.
  EXPECT_GE(detected, 24 + 19 * 4 + 2 * 31 * 4 + content.states.size());
  expect_same(read_checkpoint(folder / "x.h5", layout), content);
}

TEST(CheckpointFile, AFileOfAnotherKindIsAnError) {
  const test::ScratchFolder folder;
  const std::string path = folder.write("x.h5", "not HDF5 at all\n").string();
  EXPECT_EQ(refusal([&] { CheckpointReader reader(path); }).find(path + ": cannot read: "), 0u);
  EXPECT_NE(refusal([&] { CheckpointReader reader(folder.path()); }), "no error");
}

}  // namespace
}  // namespace eggroll
