// Checkpoint files that harm the reader: old-format files, whose metadata carry no checksums,
// damaged anywhere; and files that promise more than they hold.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

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
    reader.read_slot(small_layout(), "accumulators", Element::int32);
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

// Each dataset is no more than a file may hold; all together are.
TEST(HostileCheckpoint, ManyPiecesThatUnpackToMoreThanMemoryAreRefused) {
  const test::ScratchFolder folder;
  folder.write("bomb.py", R"(
import h5py, zlib
packed = zlib.compress(bytes(1 << 20), 9)
with h5py.File('bomb.h5', 'w') as f:
    for name in 'abc':
        d = f.create_dataset('parameters/' + name, shape=(128, 1 << 20), dtype='int8', chunks=(1, 1 << 20), compression='gzip')
        for i in range(128):
            d.id.write_direct_chunk((i, 0), packed)
)");
  const std::string command = "cd '" + folder.path().string() + "' && /usr/bin/python3 bomb.py";
  ASSERT_EQ(std::system(command.c_str()), 0) << "needs h5py; deploy/setup.sh installs it";
  const std::string words = words_about(folder / "bomb.h5");
  EXPECT_TRUE(has(words, "bomb.h5: its tensors unpack to 402653184 bytes and more")) << words;
}

TEST(HostileCheckpoint, NamesInAFileBreakNoLine) {
  const test::ScratchFolder folder;
  folder.write("name.py", R"(
import h5py, numpy as np
with h5py.File('x.h5', 'w') as f:
    f['parameters/a\n\x1bb'] = np.zeros(3)
    f.attrs['content_xxh3'] = '0'
)");
  const std::string command = "cd '" + folder.path().string() + "' && /usr/bin/python3 name.py";
  ASSERT_EQ(std::system(command.c_str()), 0) << "needs h5py; deploy/setup.sh installs it";
  const std::string words = words_about(folder / "x.h5");
  EXPECT_TRUE(has(words, "x.h5: parameters/a??b holds float64; allowed are")) << words;
}

// What is said of a good file with slots after each change, a line of Python over the open file `f`.
std::vector<std::string> words_after(const std::vector<std::string>& changes) {
  const test::ScratchFolder folder;
  folder.write("good.h5", seed("format_2_adam"));
  std::string script = "import h5py, shutil, numpy as np\n";
  for (size_t i = 0; i < changes.size(); ++i) {
    const std::string name = fmt::format("'{}.h5'", i);
    script += "shutil.copy('good.h5', " + name + ")\nwith h5py.File(" + name +
              ", 'r+') as f:\n    " + changes[i] + "\n";
  }
  folder.write("change.py", script);
  const std::string command = "cd '" + folder.path().string() + "' && /usr/bin/python3 change.py";
  EXPECT_EQ(std::system(command.c_str()), 0) << "needs h5py; deploy/setup.sh installs it";
  std::vector<std::string> all;
  for (size_t i = 0; i < changes.size(); ++i) {
    const auto path = folder / fmt::format("{}.h5", i);
    const std::string words = refusal([&] {
      const CheckpointReader reader(path);
      const ParameterLayout& layout = reader.layout();
      reader.read_parameters(layout);
      for (const SlotInfo& slot : reader.header().slots)
        reader.read_slot(layout, slot.name, slot.element);
    });
    EXPECT_EQ(words.find_first_of("\n\r"), std::string::npos) << words;
    const std::string start = path.string() + ": ";
    all.push_back(words.starts_with(start) ? words.substr(start.size()) : words);
  }
  return all;
}

using Cases = std::vector<std::pair<std::string, std::string>>;  // change, how the words begin

void expect_words(const Cases& cases) {
  std::vector<std::string> changes;
  for (const auto& [change, expected] : cases) changes.push_back(change);
  const std::vector<std::string> words = words_after(changes);
  for (size_t i = 0; i < cases.size(); ++i)
    EXPECT_EQ(words[i].substr(0, cases[i].second.size()), cases[i].second) << cases[i].first;
}

TEST(HostileCheckpoint, AHostileLayoutIsAnErrorOfOneLine) {
  const std::string no_line = " of the layout is none: name, role, noise, element, rows, cols";
  const std::string no_name =
      "attribute layout: a tensor's name is of letters, digits and . _ -, at most 100 of them, and "
      "begins with none of . and -";
  const std::string rest = " vector none int8 1 1\\n'";
  Cases cases = {
      {"f.attrs['layout']", "no error"},
      {"''", "attribute layout names no tensor"},
      {"'nonsense'", "attribute layout: line 1" + no_line},
      {"'a vector none int8 1 1\\n\\n'", "attribute layout: line 2" + no_line},
      {"'a vector none int8 1 1 1\\n'", "attribute layout: line 1" + no_line},
      {"'a vector none int8 -1 1\\n'", "attribute layout: line 1" + no_line},
      {"'a vector none int8 4294967296 1\\n'", "attribute layout: line 1" + no_line},
      {"'a vector none float64 1 1\\n'", "attribute layout: line 1" + no_line},
      {"'a vector none int8 0 1\\n'", "attribute layout: tensor a has no elements"},
      {"'a vector none int8 2 2\\n'",
       "attribute layout: tensor a: a vector has one column, and no "},
      {"'a matrix none int8 4294967295 4294967295\\n'",
       "attribute layout: tensor a: more than 2^40 elements"},
      {"'a matrix low_rank int8 4294967295 1\\n'",
       "attribute layout: tensor a: 2^32 elements of noise or more"},
      {"'a vector none int8 1 1\\n' * 2", "attribute layout: two tensors named a in one layout"},
      {"''.join('t%d vector none int8 1 1\\n' % i for i in range(4097))",
       "attribute layout: a layout has at most 4096 tensors"},
      {"'../emb" + rest, no_name},
      {"'a/b" + rest, no_name},
      {"'." + rest, no_name},
      {"'a\\rb" + rest, no_name},
      {"'\\u00e4" + rest, no_name},
      {"'" + std::string(101, 'a') + rest, no_name},
      // Terabytes, of which there is nothing.
      {"'emb matrix none float32 1048576 1048576\\n'",
       "parameters/emb has shape [5, 3], the model needs [1048576, 1048576]"},
      {"''.join('t%d matrix none float32 1048576 1048576\\n' % i for i in range(4096))",
       "parameters/t0 is missing"},
      {"'emb matrix none float32 5 3\\n'", "parameters holds 6 tensors, the model has 1"},
      {"f.attrs['layout'].decode().replace('mask vector none', 'mask vector product')",
       "adam_m/mask is missing"},
      {"f.attrs['layout'].decode().replace('float32 7', 'int32 7')",
       "parameters/bias holds float32, needed is int32"},
  };
  for (auto& [change, expected] : cases) change = "f.attrs['layout'] = " + change;
  expect_words(cases);
}

TEST(HostileCheckpoint, HostileSlotsAreErrorsOfOneLine) {
  expect_words({
      {"f.attrs['slots'] = 'parameters int8\\n'", "attribute slots: line 1 is none: name, element"},
      {"f.attrs['slots'] = 'states int8\\n'", "attribute slots: line 1 is none: name, element"},
      {"f.attrs['slots'] = '. int8\\n'", "attribute slots: line 1 is none: name, element"},
      {"f.attrs['slots'] = 'adam_m/.. int8\\n'", "attribute slots: line 1 is none: name, element"},
      {"f.attrs['slots'] = 'adam_m int16\\n'", "attribute slots: line 1 is none: name, element"},
      {"f.attrs['slots'] = 'adam_m float32\\n\\n'",
       "attribute slots: line 2 is none: name, element"},
      {"f.attrs['slots'] = 'adam_m float32\\n' * 2", "attribute slots: two slots named adam_m"},
      {"f.attrs['slots'] = ''.join('s%d int8\\n' % i for i in range(17))",
       "attribute slots: more than 16 slots"},
      {"f.attrs['slots'] = 'adam_x float32\\n'",
       "attribute slots names adam_x, of which it holds nothing"},
      {"f.attrs['slots'] = 'adam_m int32\\n'", "adam_m/layers.10.W holds float32, needed is int32"},
      {"f.attrs['slots'] = 5", "attribute slots is not one text"},
      {"del f['adam_v']; f['adam_v'] = h5py.ExternalLink('x.h5', '/adam_m')",
       "adam_v is a link to elsewhere; a checkpoint holds its own data"},
      {"del f['adam_v']; f['adam_v'] = 1.5", "adam_v is not a group"},
      {"del f['adam_v/bias']; f['adam_v/bias'] = np.zeros(7)",
       "adam_v/bias holds float64; allowed are"},
      {"del f['adam_v/bias']; f['adam_v/bias'] = np.zeros(8, np.float32)",
       "adam_v/bias has shape [8], the model needs [7]"},
      {"f['adam_v/emb'] = np.zeros(7, np.float32)", "adam_v holds 5 tensors, the model has 4"},
      {"f['states'] = np.zeros((1, 2), np.float32)", "states holds float32, needed is int8"},
      {"f['states'] = np.zeros((1, 1, 1, 1, 1, 1), np.int8)", "states has 6 dimensions"},
  });
}

}  // namespace
}  // namespace eggroll
