#include "worker/lm/text_statistics.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <span>
#include <string>

#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

// Sums of a few thousand logarithms in another order.
constexpr double kTolerance = 1e-9;

std::span<const uint8_t> bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string sample_text(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string text;
  for (char last = 'a'; text.size() < size; text += last)
    last = static_cast<char>(random() % 3 == 0 ? 'a' + random() % 26 : last ^ (random() % 4));
  return text;
}

double count_of(const std::string& text, char first) {
  double count = 0;
  for (char c : text) count += c == first;
  return count;
}

double count_of(const std::string& text, char first, char second) {
  double count = 0;
  for (size_t i = 1; i < text.size(); ++i) count += text[i - 1] == first && text[i] == second;
  return count;
}

TEST(TextStatistics, UnigramEntropyOfKnownTexts) {
  EXPECT_EQ(unigram_entropy(bytes("")), 0);
  EXPECT_EQ(unigram_entropy(bytes("aaaa")), 0);
  EXPECT_NEAR(unigram_entropy(bytes("abab")), 1, kTolerance);
  EXPECT_NEAR(unigram_entropy(bytes("aabc")), 1.5, kTolerance);
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_NEAR(unigram_entropy(bytes(all)), 8, kTolerance);
}

TEST(TextStatistics, BigramEntropyOfKnownTexts) {
  EXPECT_EQ(bigram_entropy(bytes("")), 0);
  EXPECT_EQ(bigram_entropy(bytes("a")), 0);
  EXPECT_NEAR(bigram_entropy(bytes("abababab")), 0, kTolerance);  // each byte tells the next
  // Pairs aa ab ba aa ab ba aa: after a, a 3 and b 2 times of 5; after b always a. Of 7 bytes.
  const double after_a = 3 * std::log2(5.0 / 3) + 2 * std::log2(5.0 / 2);
  EXPECT_NEAR(bigram_entropy(bytes("aabaabaa")), after_a / 7, kTolerance);
}

TEST(TextStatistics, CrossEntropiesAreSmoothedCountsOfTheOtherText) {
  const std::string text = sample_text(600, 1) + "\xFF never seen";
  const std::string counted = sample_text(900, 2);
  double unigram = 0, bigram = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    unigram -= std::log2((count_of(counted, text[i]) + 1.0 / 256) /
                         (static_cast<double>(counted.size()) + 1));
    if (i == 0) continue;
    // The last byte of `counted` begins no pair.
    const double firsts = count_of(counted, text[i - 1]) - (counted.back() == text[i - 1]);
    bigram -= std::log2((count_of(counted, text[i - 1], text[i]) + 1.0 / 256) / (firsts + 1));
  }
  const double size = static_cast<double>(text.size());
  EXPECT_NEAR(unigram_cross_entropy(bytes(text), bytes(counted)), unigram / size, kTolerance);
  EXPECT_NEAR(bigram_cross_entropy(bytes(text), bytes(counted)), bigram / (size - 1), kTolerance);
}

TEST(TextStatistics, CrossEntropyWithoutCountsIsEightBits) {
  EXPECT_NEAR(unigram_cross_entropy(bytes("text"), bytes("")), 8, kTolerance);
  EXPECT_NEAR(bigram_cross_entropy(bytes("text"), bytes("")), 8, kTolerance);
}

TEST(TextStatistics, CrossEntropyUnderOwnCountsIsLittleAboveTheEntropy) {
  const std::string text = sample_text(200'000, 3);
  EXPECT_GT(unigram_cross_entropy(bytes(text), bytes(text)), unigram_entropy(bytes(text)));
  EXPECT_LT(unigram_cross_entropy(bytes(text), bytes(text)), unigram_entropy(bytes(text)) + 1e-3);
  EXPECT_GT(bigram_cross_entropy(bytes(text), bytes(text)), bigram_entropy(bytes(text)));
  EXPECT_LT(bigram_cross_entropy(bytes(text), bytes(text)), bigram_entropy(bytes(text)) + 1e-2);
}

TEST(TextStatistics, BytesAreUnsigned) {
  const std::string high = "\x80\xFF\x80\xFF\x80\xFF\xFE";
  EXPECT_NEAR(unigram_entropy(bytes(high)), (6 * std::log2(7.0 / 3) + std::log2(7.0)) / 7,
              kTolerance);
}

// Empty where there is no such command.
std::string size_of_gzip_command(const std::string& text) {
  const test::ScratchFolder folder;
  const std::string path = folder.write("text", text).string();
  if (std::system(("gzip -9 <" + path + " | wc -c >" + path + ".size").c_str()) != 0) return "";
  return test::read_text(path + ".size");
}

TEST(TextStatistics, GzipSizeIsThatOfTheCommand) {
  for (const std::string& text : {sample_text(200'000, 4), std::string(300'000, 'a')}) {
    const std::string command = size_of_gzip_command(text);
    if (command.empty()) GTEST_SKIP() << "no gzip here";
    const double expected = 8 * std::stod(command) / static_cast<double>(text.size());
    EXPECT_NEAR(gzip_bits_per_byte(bytes(text)), expected, 0.01 * expected);
  }
}

TEST(TextStatistics, GzipCountsItsWrapper) {
  EXPECT_EQ(gzip_bits_per_byte(bytes("")), 0);
  // 10 bytes of header, 3 of deflate for one letter, 8 of trailer.
  EXPECT_EQ(gzip_bits_per_byte(bytes("a")), 8 * 21);
}

TEST(TextStatistics, GzipOfNoiseIsAboveEightBits) {
  std::mt19937 random(5);
  std::string noise(500'000, ' ');
  for (char& c : noise) c = static_cast<char>(random());
  EXPECT_GT(gzip_bits_per_byte(bytes(noise)), 8);
  EXPECT_LT(gzip_bits_per_byte(bytes(noise)), 8.01);
}

}  // namespace
}  // namespace eggroll
