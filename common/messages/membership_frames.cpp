#include "common/messages/membership_frames.hpp"

#include <cstring>

namespace eggroll::membership {
namespace {

std::string frame_of(FrameKind kind, std::string_view rest = {}) {
  std::string frame(1, static_cast<char>(kind));
  frame.append(rest);
  return frame;
}

template <typename T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& bytes, std::string_view text) {
  append(bytes, static_cast<uint32_t>(text.size()));
  bytes.append(text);
}

// Takes values off the front; false from the first one that is not there.
struct Taker {
  std::string_view bytes;
  bool is_whole = true;

  template <typename T>
  T take() {
    T value{};
    if (bytes.size() < sizeof value) {
      is_whole = false;
      return value;
    }
    std::memcpy(&value, bytes.data(), sizeof value);
    bytes.remove_prefix(sizeof value);
    return value;
  }
  std::string take_text() {
    const auto length = take<uint32_t>();
    if (bytes.size() < length) is_whole = false;
    if (!is_whole) return {};
    std::string text(bytes.substr(0, length));
    bytes.remove_prefix(length);
    return text;
  }
};

}  // namespace

std::string hello_frame(const Hello& hello) {
  std::string frame = frame_of(FrameKind::hello);
  append(frame, hello.cookie);
  append(frame, hello.target);
  append(frame, hello.rank);
  append(frame, hello.view);
  return frame;
}

std::string welcome_frame() { return frame_of(FrameKind::welcome); }
std::string beat_frame() { return frame_of(FrameKind::beat); }
std::string proposal_frame(const Proposal& proposal) {
  return frame_of(FrameKind::proposal, (proposal.at_end ? "1" : "0") + proposal.text);
}
std::string shut_out_frame(std::string_view why) { return frame_of(FrameKind::shut_out, why); }

std::string broken_frame(uint32_t view) {
  std::string frame = frame_of(FrameKind::broken);
  append(frame, view);
  return frame;
}

std::string view_frame(const View& view) {
  std::string frame = frame_of(FrameKind::view);
  append(frame, view.number);
  append(frame, static_cast<uint32_t>(view.ranks.size()));
  for (size_t i = 0; i < view.ranks.size(); ++i) {
    append(frame, static_cast<int32_t>(view.ranks[i]));
    append_text(frame, view.proposals[i]);
  }
  append(frame, static_cast<uint32_t>(view.lost.size()));
  for (const std::string& lost : view.lost) append_text(frame, lost);
  return frame;
}

FrameKind kind_of(std::string_view frame) {
  return frame.empty() ? FrameKind::beat : static_cast<FrameKind>(frame[0]);
}

std::optional<Hello> parse_hello(std::string_view frame) {
  if (kind_of(frame) != FrameKind::hello) return std::nullopt;
  Taker from{frame.substr(1)};
  Hello hello;
  hello.cookie = from.take<uint64_t>();
  hello.target = from.take<int32_t>();
  hello.rank = from.take<int32_t>();
  hello.view = from.take<uint32_t>();
  return from.is_whole ? std::optional(hello) : std::nullopt;
}

std::optional<Proposal> parse_proposal(std::string_view frame) {
  if (kind_of(frame) != FrameKind::proposal || frame.size() < 2) return std::nullopt;
  return Proposal{std::string(frame.substr(2)), frame[1] == '1'};
}

std::string reason_in(std::string_view frame) { return std::string(frame.substr(1)); }

std::optional<View> view_in(std::string_view frame) {
  Taker from{frame.substr(1)};
  View view;
  view.number = from.take<uint32_t>();
  for (auto left = from.take<uint32_t>(); left > 0 && from.is_whole; --left) {
    view.ranks.push_back(from.take<int32_t>());
    view.proposals.push_back(from.take_text());
  }
  for (auto left = from.take<uint32_t>(); left > 0 && from.is_whole; --left)
    view.lost.push_back(from.take_text());
  return from.is_whole ? std::optional(std::move(view)) : std::nullopt;
}

}  // namespace eggroll::membership
