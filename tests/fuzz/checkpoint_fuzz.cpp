// A checkpoint file, read as --resume, --init and inspect read it: from the file alone, and by
// layouts of which some seeds hold the tensors. A file that makes the HDF5 library crash must be an
// Error like any other, of one line. Input: the file.
#include <pthread.h>

#include <array>
#include <cstring>
#include <functional>

#include "common/check.hpp"
#include "common/files/checkpoint.hpp"
#include "kernels/int_rnn.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/sample_checkpoint.hpp"

using namespace eggroll;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
extern "C" uint32_t H5_checksum_metadata(const void* data, size_t size, uint32_t start);

namespace {

// Files are refused in a child process, which the fuzzer does not see into: each refusal that reads
// otherwise counts as a way through the program.
#ifdef EGGROLL_FUZZ
__attribute__((section("__libfuzzer_extra_counters"), used)) std::array<uint8_t, 4096> refusals;
#else
std::array<uint8_t, 4096> refusals;
#endif

void attempt(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    test::must_hold(std::string_view(error.what()).find_first_of("\n\r") == std::string_view::npos,
                    "an error is one line");
    std::string words;
    for (const char* c = error.what(); *c; ++c)
      if (*c < '0' || *c > '9') words += *c;
    refusals[std::hash<std::string>{}(words) % refusals.size()] = 1;
  }
}

void read_by(const CheckpointReader& reader, const ParameterLayout& layout) {
  attempt([&] { reader.read_parameters(layout); });
  for (const SlotInfo& slot : reader.header().slots)
    attempt([&] { reader.read_slot(layout, slot.name, slot.element); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  refusals.fill(0);
  const auto path = test::scratch().write("x.h5", std::string(test::text_of(data, size)));
  attempt([&] {
    const CheckpointReader reader(path);
    attempt([&] { reader.verify(); });
    attempt([&] { read_by(reader, reader.layout()); });
    read_by(reader, test::small_layout());
    read_by(reader, test::float_layout());
    read_by(reader, int_rnn_layout({.layers = 1, .width = 64}));
    attempt([&] {
      reader.expect_states(reader.header().state_slots, test::kSlotShape);
      std::vector<std::byte> state(test::kSlotBytes);
      reader.read_states(reader.header().state_slots - 1, state);
    });
  });
  return 0;
}

#ifdef EGGROLL_FUZZ
// A child that dies is no finding: the fuzzer, which is copied into it, must not note one there.
extern "C" void __sanitizer_set_death_callback(void (*callback)());
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  return pthread_atfork(nullptr, nullptr, [] { __sanitizer_set_death_callback([] {}); });
}

// The library keeps some memory of files that it refuses.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

// Mutates bytes; every second time makes the checksums of the metadata right again, as somebody
// would who means harm: those of the superblock and of object headers, which begin with OHDR.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 2 == 0 || size < 48) return size;
  const auto mend = [&](size_t first, size_t end) {
    if (end + 4 > size) return;
    const uint32_t sum = H5_checksum_metadata(data + first, end - first, 0);
    std::memcpy(data + end, &sum, sizeof sum);
  };
  if (data[8] == 2 || data[8] == 3) mend(0, 44);
  for (size_t at = 48; at + 16 < size; ++at) {
    if (std::memcmp(data + at, "OHDR", 4) != 0) continue;
    const uint8_t flags = data[at + 5];
    size_t position = at + 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
    const size_t width = size_t{1} << (flags & 3);
    if (position + width > size) continue;
    uint64_t bytes = 0;
    std::memcpy(&bytes, data + position, width);
    position += width;
    if (bytes < size && position + bytes < size) mend(at, position + bytes);
  }
  return size;
}
#endif
