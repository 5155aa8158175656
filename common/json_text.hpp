// JSON for people and programs, on one line. Names of files and hosts are bytes: those that are no UTF-8
// come out as U+FFFD, the replacement character.
#pragma once

#include <string>

namespace eggroll {

template <typename Json>
std::string json_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace eggroll
