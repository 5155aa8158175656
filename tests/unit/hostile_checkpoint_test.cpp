// Checkpoint files that harm the reader: old-format files, whose metadata carry no checksums,
// damaged anywhere; and files that promise more than they hold.
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstdlib>
#include <random>
#include <string>

#include "common/files/checkpoint.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

using test::has;
using test::refusal;
using test::small_layout;

std::string seed(const char* name) {
  return test::read_text(std::string(EGGROLL_CHECKPOINT_SEEDS) + "/" + name);
}

std::string words_about(const std::filesystem::path& path) {
  return refusal([&] {
    const CheckpointReader reader(path);
    reader.verify();
    reader.read_parameters(small_layout());
    reader.read_accumulators(small_layout());
  });
}

TEST(HostileCheckpoint, DamagedOldFilesAreErrorsWhateverTheLibraryDoes) {
  const test::ScratchFolder folder;
  std::mt19937_64 random(7);
  size_t crashes = 0, errors = 0;
  for (const char* name : {"h5py_old", "h5py_old_chunked"}) {
    const std::string whole = seed(name);
    ASSERT_FALSE(whole.empty());
    ASSERT_EQ(whole[8], 0) << "the superblock of the old format";
    EXPECT_EQ(words_about(folder.write("x.h5", whole)), "no error");
    for (int i = 0; i < 100; ++i) {
      std::string damaged = whole;
      for (int bytes = 1 + static_cast<int>(random() % 4); bytes > 0; --bytes)
        damaged[random() % damaged.size()] = static_cast<char>(random());
      const std::string words = words_about(folder.write("x.h5", damaged));
      EXPECT_EQ(words.find_first_of("\n\r"), std::string::npos) << words;
      if (words != "no error") ++errors;
      if (has(words, "does not survive")) ++crashes;
    }
  }
  EXPECT_GT(errors, 10u);  // most bytes of these files are data or unused
  RecordProperty("crashes_of_the_library", static_cast<int>(crashes));
  std::printf("%zu of 200 damages refused, %zu of them crashed the library\n", errors, crashes);
}

// Files that HDF5 1.10.8 crashes on, or never comes back from. A library that does better refuses
// them itself, or reads what is left of them.
TEST(HostileCheckpoint, FilesThatKillTheLibraryAreErrors) {
  const test::ScratchFolder folder;
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  const bool is_known = major == 1 && minor == 10 && release == 8;
  for (const char* name : {"crash_groups", "crash_second", "crash_pieces", "endless"}) {
    const auto path = folder.write("x.h5", seed((std::string("../../damaged/") + name).c_str()));
    const std::string words = words_about(path);
    EXPECT_EQ(words.find_first_of("\n\r"), std::string::npos) << words;
    if (is_known) {
      EXPECT_TRUE(has(words, "x.h5: damaged: the HDF5 library does not survive reading it ("))
          << name << ": " << words;
    }
  }
}

// 64 KiB, says the dataset; what is stored unpacks to 512 MiB.
TEST(HostileCheckpoint, ASmallFileThatUnpacksToALargeOneIsRefused) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer's own memory is beyond any limit";
#endif
  const test::ScratchFolder folder;
  folder.write("bomb.py", R"(
import h5py, numpy as np, zlib
with h5py.File('bomb.h5', 'w') as f:
    d = f.create_dataset('parameters/emb', shape=(64, 1024), dtype='int8', chunks=(64, 1024), compression='gzip')
    d.id.write_direct_chunk((0, 0), zlib.compress(bytes(512 << 20), 1))
)");
  const std::string command = "cd '" + folder.path().string() + "' && /usr/bin/python3 bomb.py";
  ASSERT_EQ(std::system(command.c_str()), 0) << "needs h5py; deploy/setup.sh installs it";
  const std::string words = words_about(folder / "bomb.h5");
  EXPECT_TRUE(has(words, "cannot read parameters/emb")) << words;
}

TEST(HostileCheckpoint, WhatPromisesMoreThanItHoldsIsRefused) {
  const test::ScratchFolder folder;
  const auto words = [&](const char* name) {
    return words_about(folder.write("x.h5", seed(name)));
  };
  EXPECT_TRUE(has(words("sparse"), "in pieces that do not fit its shape")) << words("sparse");
  EXPECT_TRUE(has(words("many_links"), "the whole file has")) << words("many_links");
}

}  // namespace
}  // namespace eggroll
