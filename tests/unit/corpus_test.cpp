#include "worker/lm/corpus.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <limits>
#include <span>
#include <string>

#include "common/check.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

using namespace std::string_literals;
namespace fs = std::filesystem;

std::string text_of(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

// The words of the ConfigError that reading `path` ends in.
std::string refusal(const fs::path& path, double held_out = 0) {
  try {
    Corpus(path, held_out);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Corpus, IsTheBytesOfAFileSplitAtItsEnd) {
  const test::ScratchFolder folder;
  const fs::path path = folder.write("text", "0123456789\0\xFF"s);
  const Corpus corpus(path, 0.25);
  EXPECT_EQ(text_of(corpus.all()), "0123456789\0\xFF"s);
  EXPECT_EQ(text_of(corpus.train()), "012345678");
  EXPECT_EQ(text_of(corpus.held_out()), "9\0\xFF"s);
}

TEST(Corpus, KeepsNothingBackWithoutAShare) {
  const test::ScratchFolder folder;
  const Corpus corpus(folder.write("text", "abc"), 0);
  EXPECT_EQ(text_of(corpus.train()), "abc");
  EXPECT_TRUE(corpus.held_out().empty());
}

TEST(Corpus, AlwaysTrainsOnSomething) {
  const test::ScratchFolder folder;
  EXPECT_EQ(Corpus(folder.write("text", "a"), 0.999).train().size(), 1u);
}

TEST(Corpus, ReadsAFolderInPathOrderWithABoundaryBetweenFiles) {
  const test::ScratchFolder folder;
  // Byte order, whatever the locale: capitals first; '-' before '/' before letters.
  folder.write("corpus/b.txt", "four");
  folder.write("corpus/a/z.txt", "three");
  folder.write("corpus/a-z.txt", "two");
  folder.write("corpus/Z.txt", "one");
  folder.write("corpus/a/empty.txt", "");
  folder.write("corpus/0-empty.txt", "");
  folder.write("corpus/zzz-empty.txt", "");
  EXPECT_EQ(text_of(Corpus(folder / "corpus", 0).all()), "one\0two\0three\0four"s);
  EXPECT_EQ(text_of(Corpus(folder / "corpus/", 0).all()), "one\0two\0three\0four"s);
}

TEST(Corpus, FollowsLinksToFilesAndPassesOverWhatIsNoFile) {
  const test::ScratchFolder folder;
  folder.write("corpus/a", "text");
  folder.write("elsewhere", "linked");
  fs::create_symlink(folder / "elsewhere", folder / "corpus/b");
  fs::create_symlink(folder / "nowhere", folder / "corpus/c");
  ASSERT_EQ(mkfifo((folder / "corpus/pipe").c_str(), 0600), 0);
  EXPECT_EQ(text_of(Corpus(folder / "corpus", 0).all()), "text\0linked"s);
}

TEST(Corpus, FollowsLinksToFoldersAndReadsEachOnce) {
  const test::ScratchFolder folder;
  folder.write("corpus/m/one", "one");
  folder.write("elsewhere/two", "two");
  folder.write("elsewhere/below/three", "three");
  fs::create_symlink(folder / "elsewhere", folder / "corpus/b");
  fs::create_symlink("..", folder / "elsewhere/back");  // to a folder above both
  fs::create_symlink("m", folder / "corpus/a");         // read under its own name
  fs::create_symlink(folder / "elsewhere/below", folder / "corpus/z");
  const Corpus corpus(folder / "corpus", 0);
  EXPECT_EQ(text_of(corpus.all()), "three\0two\0one"s);
  const std::string key = "data = " + (folder / "corpus").string() + ": ";
  EXPECT_EQ(corpus.remarks(),
            (std::vector<std::string>{
                key + "3 files, 13 bytes", key + "not read is a: a folder that is read already",
                key + "not read is b/back/corpus: a folder that is read already",
                key + "not read is b/back/elsewhere: a folder that is read already",
                key + "not read is z: a folder that is read already"}));
}

TEST(Corpus, SaysWhatOfAFolderIsNotRead) {
  const test::ScratchFolder folder;
  folder.write("corpus/a", "x");
  fs::create_symlink("nowhere", folder / "corpus/b");
  fs::create_symlink("c", folder / "corpus/c");
  ASSERT_EQ(mkfifo((folder / "corpus/pipe").c_str(), 0600), 0);
  const std::string key = "data = " + (folder / "corpus").string() + ": ";
  EXPECT_EQ(Corpus(folder / "corpus", 0).remarks(),
            (std::vector<std::string>{key + "1 file, 1 byte",
                                      key + "not read is b: a link that leads nowhere",
                                      key + "not read is c: a link that leads nowhere",
                                      key + "not read is pipe: neither a file nor a folder"}));
  for (char name = 'd'; name < 'j'; ++name)
    fs::create_symlink("nowhere", folder / "corpus" / std::string(1, name));
  const Corpus many(folder / "corpus", 0);
  ASSERT_EQ(many.remarks().size(), 7u);
  EXPECT_EQ(many.remarks().back(), key + "not read are 4 more");
  EXPECT_TRUE(Corpus(folder / "corpus/a", 0).remarks().empty());
}

TEST(Corpus, ReadsMoreThanOnePieceOfEachFile) {
  const test::ScratchFolder folder;
  std::string large(3'000'001, 'x');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * i >> 7);
  folder.write("corpus/1", large);
  folder.write("corpus/2", large);
  EXPECT_EQ(text_of(Corpus(folder / "corpus", 0).all()), large + '\0' + large);
}

TEST(Corpus, DigestIsXxh3OfAllBytesAndNotOfTheSplit) {
  const test::ScratchFolder folder;
  const fs::path path = folder.write("text", "In the beginning");
  const uint64_t expected = XXH3_64bits("In the beginning", 16);
  EXPECT_EQ(Corpus(path, 0).digest(), expected);
  EXPECT_EQ(Corpus(path, 0.5).digest(), expected);
  EXPECT_NE(Corpus(folder.write("other", "In the beginninG"), 0).digest(), expected);
}

TEST(Corpus, RefusesWhatHoldsNoTextAndNamesIt) {
  const test::ScratchFolder folder;
  const std::string at = "data = " + folder.path().string();
  fs::create_directories(folder / "none/below");
  folder.write("hollow/empty", "");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal(folder / "missing"), at + "/missing: there is no such file or folder");
  EXPECT_EQ(refusal(folder.write("empty", "")), at + "/empty: this file is empty");
  EXPECT_EQ(refusal(folder / "none"), at + "/none: there is no text in this folder");
  EXPECT_EQ(refusal(folder / "hollow"), at + "/hollow: there is no text in this folder");
  EXPECT_EQ(refusal(folder / "pipe"), at + "/pipe: neither a file nor a folder");
}

TEST(Corpus, RefusesAFileThatCannotBeRead) {
  // Opens, and fails when it is read; unlike a file without permissions also for root.
  if (!fs::exists("/proc/self/mem")) GTEST_SKIP() << "no /proc/self/mem here";
  EXPECT_EQ(refusal("/proc/self/mem").find("data = /proc/self/mem: cannot be read: "), 0u);
}

TEST(Corpus, RefusesAShareThatLeavesNothing) {
  const test::ScratchFolder folder;
  const fs::path path = folder.write("text", "abc");
  for (double share : {-0.1, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_EQ(refusal(path, share).find("held-out = "), 0u) << share;
}

}  // namespace
}  // namespace eggroll
