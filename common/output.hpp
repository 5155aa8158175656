// What the program says. A result is what a command was asked for, on standard output: where it cannot be
// written the command has failed. What is told to people beside it (progress, remarks, errors) is lost
// where it cannot be shown (a full disk under a log, a closed pipe), and never a reason to end anything.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string_view>
#include <utility>

namespace eggroll {

// For the very beginning of main. Of descriptors 0 to 2 those that the program was started without
// become ones that cannot be used either, so that no file that is opened later takes their place and
// with it what is printed. Throws Error where they cannot.
void occupy_standard_descriptors();

void tell(std::FILE* stream, std::string_view text);  // and at once, whatever the stream is
void complain(std::string_view what);                 // a line on standard error: "eggroll: WHAT"

// The next part of the result. Throws Error where it cannot be written.
void write_result(std::string_view text);
template <typename... Values>
void print_result(fmt::format_string<Values...> format, Values&&... values) {
  write_result(fmt::format(format, std::forward<Values>(values)...));
}
// All of the result, if there is any, has left the program. Throws Error where it cannot. main calls it
// when a command has ended; before that, who wants it to be seen.
void flush_result();

}  // namespace eggroll
