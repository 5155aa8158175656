// The checksum of format 2 from its definition, and files of format 1, as an earlier
// eggroll wrote them.
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdio>
#include <string>
#include <vector>

#include "common/files/checkpoint.hpp"
#include "common/files/hdf5_file.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

using test::Content;
using test::float_layout;
using test::kAdamSlots;
using test::kNoSlots;
using test::kSlotShape;
using test::read_checkpoint;
using test::refusal;
using test::sample_content;
using test::small_layout;

std::string seed(const char* name) { return std::string(EGGROLL_CHECKPOINT_SEEDS) + "/" + name; }

std::string number(uint64_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }
std::string text(const std::string& value) { return number(value.size()) + value; }

// Of elements from `at` on in an arena.
std::string values(const std::vector<std::byte>& arena, size_t at, size_t bytes) {
  return {reinterpret_cast<const char*>(arena.data()) + at, bytes};
}

TEST(CheckpointFormats, TheChecksumGoesOverEverythingInItsOrder) {
  const test::ScratchFolder folder;
  ParameterLayout layout;
  layout.add("b", Role::vector, Noise::full, Element::float32, 3, 1);
  layout.add("a", Role::matrix, Noise::low_rank, Element::float32, 2, 2);
  layout.add("c", Role::vector, Noise::none, Element::int8, 5, 1);
  const Content content = sample_content(layout, 2, kAdamSlots);
  test::write_checkpoint(folder / "x.h5", layout, content);

  const CheckpointHeader& h = content.header;
  const auto& arenas = content.arenas.arenas;
  std::string all = number(2) + number(h.generation) + number(h.seed) + text(h.data_digest) +
                    text(h.noise_law) + text(h.arithmetic) + text(h.config) + text(layout.text()) +
                    text("adam_m float32\nadam_v float32\n") + text(h.parameters_digest) +
                    number(2);
  all += number(3);
  all +=
      text("a") + text("float32") + number(2) + number(2) + number(2) + values(arenas[0], 12, 16);
  all += text("b") + text("float32") + number(1) + number(3) + values(arenas[0], 0, 12);
  all += text("c") + text("int8") + number(1) + number(5) + values(arenas[0], 28, 5);
  for (size_t slot : {1, 2}) {
    all += number(2);
    all += text("a") + text("float32") + number(2) + number(2) + number(2) +
           values(arenas[slot], 12, 16);
    all += text("b") + text("float32") + number(1) + number(3) + values(arenas[slot], 0, 12);
  }
  all += number(3) + number(2) + number(2) + number(4) +
         values(content.states, 0, content.states.size());
  char digest[17];
  std::snprintf(digest, sizeof digest, "%016llx",
                static_cast<unsigned long long>(XXH3_64bits(all.data(), all.size())));
  EXPECT_EQ(hdf5::File::open(folder / "x.h5").text("content_xxh3"), digest);
}

TEST(CheckpointFormats, AFileOfTheFirstFormatIsReadAndVerified) {
  const ParameterLayout layout = small_layout();
  const Content expected = sample_content(layout, 3);
  const CheckpointReader reader(seed("format_1"));
  reader.verify();
  EXPECT_TRUE(reader.is_complete());
  const CheckpointHeader& header = reader.header();
  EXPECT_EQ(header.generation, expected.header.generation);
  EXPECT_EQ(header.seed, expected.header.seed);
  EXPECT_EQ(header.data_digest, expected.header.data_digest);
  EXPECT_EQ(header.noise_law, expected.header.noise_law);
  EXPECT_EQ(header.config, expected.header.config);
  EXPECT_EQ(header.arithmetic, "");
  EXPECT_EQ(header.layout, "");
  EXPECT_EQ(header.slots, test::kAccumulators);
  reader.expect_states(3, kSlotShape);
  EXPECT_EQ(refusal([&] { reader.layout(); }), seed("format_1") + ": states no layout");

  const Content read = read_checkpoint(seed("format_1"), layout);
  EXPECT_TRUE(read.arenas == expected.arenas);
  EXPECT_TRUE(read.states == expected.states);
  // As its writer computed it.
  EXPECT_EQ(header.parameters_digest, "e47b95b7c2e5f2d9");
  EXPECT_EQ(arenas_digest(read.arenas.spans()), header.parameters_digest);
}

TEST(CheckpointFormats, AFileOfTheFirstFormatMayHoldParametersAlone) {
  const ParameterLayout layout = small_layout();
  const Content read = read_checkpoint(seed("format_1_without_states"), layout);
  EXPECT_TRUE(read.arenas == sample_content(layout, 0, kNoSlots).arenas);
  EXPECT_EQ(read.header.slots, kNoSlots);
  EXPECT_EQ(read.header.state_slots, 0u);
  EXPECT_EQ(arenas_digest(read.arenas.spans()), read.header.parameters_digest);
}

TEST(CheckpointFormats, ADamagedFileOfTheFirstFormatIsAnError) {
  const test::ScratchFolder folder;
  const std::string whole = test::read_text(seed("format_1"));
  const Content content = sample_content(small_layout(), 3);
  for (const std::vector<std::byte>* part :
       {&content.arenas.arenas[0], &content.arenas.arenas[1], &content.states}) {
    const std::string data = values(*part, 0, 7);  // stands in the file as in the arena
    std::string damaged = whole;
    ASSERT_NE(damaged.find(data), std::string::npos);
    damaged[damaged.find(data) + 3] ^= 1;
    const auto path = folder.write("x.h5", damaged);
    const std::string words = refusal([&] { CheckpointReader(path).verify(); });
    EXPECT_TRUE(test::has(words, "x.h5: damaged: its content has the checksum ")) << words;
  }
}

// A seed of the fuzzer, written once: the format stays what it is.
TEST(CheckpointFormats, FilesOfTheSecondFormatStayReadable) {
  const Content integers = read_checkpoint(seed("format_2"), small_layout());
  test::expect_same(integers, sample_content(small_layout(), 3));
  const Content floats = read_checkpoint(seed("format_2_adam"), float_layout());
  test::expect_same(floats, sample_content(float_layout(), 0, kAdamSlots));
}

}  // namespace
}  // namespace eggroll
