#include "common/output.hpp"

#include <fmt/format.h>

namespace eggroll {

void tell(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

void complain(std::string_view what) { tell(stderr, fmt::format("eggroll: {}\n", what)); }

}  // namespace eggroll
