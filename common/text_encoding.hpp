// The byte order mark with which some editors begin a text. A text that people write for this program is
// UTF-8: that mark is skipped, and one of another encoding is named. A text that a model learns is
// bytes: a mark is three of them.
#pragma once

#include <cstddef>
#include <string_view>

namespace eggroll {

// Bytes of the mark of UTF-8 at its start; 0 where there is none.
constexpr size_t utf8_mark_bytes(std::string_view text) {
  return text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
}

// "UTF-16", "UTF-32" where it begins with the mark of these; empty where it does not.
constexpr std::string_view foreign_encoding(std::string_view text) {
  using namespace std::string_view_literals;
  if (text.starts_with("\xFF\xFE\0\0"sv) || text.starts_with("\0\0\xFE\xFF"sv)) return "UTF-32";
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) return "UTF-16";
  return "";
}

}  // namespace eggroll
