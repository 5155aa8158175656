// Which program this is: ranks exchange structs as bytes, so all of them run the same one.
#pragma once

#include <string>

namespace eggroll {

std::string build_id();  // XXH3-64 of the running executable, 16 hex digits

}  // namespace eggroll
