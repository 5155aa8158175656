// A small model learns simple English from nothing, to stated numbers. Training is integer
// arithmetic, so the loss is the same on every machine; the bounds leave room for changes of the
// rules that do not hurt.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/eggroll_program.hpp"

namespace eggroll::test {
namespace {

class Learns : public testing::Test {
 protected:
  Learns() : data_(folder_.write("text", generated_text(200000)).string()) {}

  // Exact loss on the held-out text in bits per byte, and what simple models make of it.
  nlohmann::json after_training(const std::string& more) const {
    const std::string run = (folder_ / "run").string();
    std::filesystem::remove_all(run);
    const std::string trained =
        expect_success(eggroll("train --data " + data_ + " --run " + run +
                               " --layers 1 --width 64 --population 512 --tokens-per-update 16"
                               " --generations 1000 --alpha-decay 42% --validate-every 0 " +
                               more),
                       200);
    const std::string evaluated = expect_success(
        eggroll("evaluate --held-out --json --checkpoint " + run + " --data " + data_));
    nlohmann::json loss = nlohmann::json::parse(evaluated, nullptr, false);
    EXPECT_TRUE(loss.is_object()) << evaluated;
    std::cout << more << ": " << evaluated;
    EXPECT_NEAR(loss.value("unigram_bits_per_byte", 0.0), 4.069, 0.001);
    EXPECT_NEAR(loss.value("bigram_bits_per_byte", 0.0), 2.390, 0.001);

    // What training says of itself is what evaluate finds in the checkpoint.
    const std::vector<nlohmann::json> records = metrics_of(run);
    EXPECT_EQ(records.size(), 1000u);
    if (records.empty()) return loss;
    EXPECT_DOUBLE_EQ(records.back().value("validation_bits_per_byte", 0.0),
                     loss.value("bits_per_byte", -1.0));
    // Without learning a byte costs more than the eight bits of guessing.
    EXPECT_GT(records.front().value("train_integer_bits_per_byte", 0.0), 8.0);
    EXPECT_LT(records.back().value("train_integer_bits_per_byte", 9.0), 3.3);
    return loss;
  }

  ScratchFolder folder_;
  std::string data_;
};

TEST_F(Learns, SimpleEnglishTo2Point8BitsAByteBySigmaDelta) {
  const double loss = after_training("--threshold-factor 1").value("bits_per_byte", 9.0);
  EXPECT_LT(loss, 2.8);  // 2.674
}

TEST_F(Learns, SimpleEnglishTo3Point2BitsAByteByTheThresholdOfThePaper) {
  const double loss =
      after_training("--update threshold --fitness sign --carry own").value("bits_per_byte", 9.0);
  EXPECT_LT(loss, 3.2);  // 3.098
}

}  // namespace
}  // namespace eggroll::test
