#include "worker/lm/text_statistics.hpp"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/check.hpp"

namespace eggroll {
namespace {

constexpr size_t kBytes = 256;
constexpr double kSmoothing = 1.0 / 256;

std::vector<double> count_bytes(std::span<const uint8_t> text) {
  std::vector<uint64_t> counts(kBytes);
  for (uint8_t byte : text) ++counts[byte];
  return {counts.begin(), counts.end()};
}

// [first, second]
std::vector<double> count_pairs(std::span<const uint8_t> text) {
  std::vector<uint64_t> counts(kBytes * kBytes);
  for (size_t i = 1; i < text.size(); ++i) ++counts[text[i - 1] * kBytes + text[i]];
  return {counts.begin(), counts.end()};
}

double sum(std::span<const double> counts) {
  double total = 0;
  for (double count : counts) total += count;
  return total;
}

// Bits for as many symbols as `counts` says, coded by
// (model + smoothing) / (sum of model + 256 smoothing).
double bits(std::span<const double> counts, std::span<const double> model, double smoothing) {
  const double log_total = std::log2(sum(model) + kBytes * smoothing);
  double total = 0;
  for (size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) total += counts[i] * (log_total - std::log2(model[i] + smoothing));
  return total;
}

double unigram_bits_per_byte(std::span<const uint8_t> text, std::span<const uint8_t> counted,
                             double smoothing) {
  if (text.empty()) return 0;
  return bits(count_bytes(text), count_bytes(counted), smoothing) /
         static_cast<double>(text.size());
}

double bigram_bits_per_byte(std::span<const uint8_t> text, std::span<const uint8_t> counted,
                            double smoothing) {
  if (text.size() < 2) return 0;
  const std::vector<double> counts = count_pairs(text);
  const std::vector<double> model = count_pairs(counted);
  double total = 0;
  for (size_t first = 0; first < kBytes; ++first)
    total += bits(std::span(counts).subspan(first * kBytes, kBytes),
                  std::span(model).subspan(first * kBytes, kBytes), smoothing);
  return total / static_cast<double>(text.size() - 1);
}

}  // namespace

double unigram_entropy(std::span<const uint8_t> text) {
  return unigram_bits_per_byte(text, text, 0);
}

double bigram_entropy(std::span<const uint8_t> text) { return bigram_bits_per_byte(text, text, 0); }

double unigram_cross_entropy(std::span<const uint8_t> text, std::span<const uint8_t> counted) {
  return unigram_bits_per_byte(text, counted, kSmoothing);
}

double bigram_cross_entropy(std::span<const uint8_t> text, std::span<const uint8_t> counted) {
  return bigram_bits_per_byte(text, counted, kSmoothing);
}

double gzip_bits_per_byte(std::span<const uint8_t> text) {
  if (text.empty()) return 0;
  constexpr int kLargestWindow = 15, kGzipWrapper = 16, kDefaultMemory = 8;
  z_stream stream = {};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kLargestWindow + kGzipWrapper,
                   kDefaultMemory, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Error("zlib: no memory to compress with");
  std::vector<uint8_t> scratch(size_t{1} << 16);
  uint64_t bytes = 0;
  // zlib counts its input in 32 bits, so a long text comes in pieces.
  for (int status = Z_OK; status != Z_STREAM_END;) {
    const size_t piece = std::min(text.size(), size_t{1} << 30);
    stream.next_in = const_cast<uint8_t*>(text.data());  // zlib does not write to it
    stream.avail_in = static_cast<uInt>(piece);
    text = text.subspan(piece);
    do {
      stream.next_out = scratch.data();
      stream.avail_out = static_cast<uInt>(scratch.size());
      status = deflate(&stream, text.empty() ? Z_FINISH : Z_NO_FLUSH);
      bytes += scratch.size() - stream.avail_out;
    } while (stream.avail_out == 0);
  }
  const uint64_t text_bytes = stream.total_in;
  deflateEnd(&stream);
  return 8 * static_cast<double>(bytes) / static_cast<double>(text_bytes);
}

}  // namespace eggroll
