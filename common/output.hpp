// What the program says to people: progress, remarks, errors. What cannot be shown (a full disk under a
// log, a closed pipe) is lost, and that is never a reason to end anything.
#pragma once

#include <cstdio>
#include <string_view>

namespace eggroll {

void tell(std::FILE* stream, std::string_view text);  // and at once, whatever the stream is
void complain(std::string_view what);                 // a line on standard error: "eggroll: WHAT"

}  // namespace eggroll
