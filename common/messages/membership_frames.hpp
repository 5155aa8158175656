// What ranks say to each other in membership.cpp, as bytes between identical builds. A frame begins
// with its kind.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/messages/view.hpp"

namespace eggroll::membership {

enum class FrameKind : char {
  hello = 'h',     // a rank to the one it takes for its leader: who I am
  welcome = 'w',   // the answer
  beat = 'b',      // I am here
  proposal = 's',  // my proposal for the next view
  broken = 'x',    // leader to all: the view no longer holds
  view = 'v',      // leader to all: the next view
  shut_out = 'o',  // you are no part of it any more, and why
};

struct Hello {
  uint64_t cookie = 0;  // of the job
  int32_t target = 0;
  int32_t rank = 0;
  uint32_t view = 0;  // that the rank is in
};

struct Proposal {
  std::string text;
  bool at_end = false;  // the others may work on in the present view
};

std::string hello_frame(const Hello& hello);
std::string welcome_frame();
std::string beat_frame();
std::string proposal_frame(const Proposal& proposal);
std::string broken_frame(uint32_t view);
std::string view_frame(const View& view);
std::string shut_out_frame(std::string_view why);

FrameKind kind_of(std::string_view frame);
std::optional<Hello> parse_hello(std::string_view frame);
std::optional<Proposal> parse_proposal(std::string_view frame);
std::string reason_in(std::string_view frame);  // of shut_out
std::optional<View> view_in(std::string_view frame);

}  // namespace eggroll::membership
