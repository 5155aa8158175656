#include "common/messages/message.hpp"

#include <algorithm>
#include <chrono>

namespace eggroll {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kCancelFor{20};

}  // namespace

Message::Message(size_t size, size_t max_piece)
    : bytes_(std::make_unique_for_overwrite<std::byte[]>(size)),
      size_(size),
      max_piece_(max_piece) {}

Message::~Message() {
  if (requests_.empty()) return;
  const Clock::time_point limit = Clock::now() + (is_sent_ ? Clock::duration() : kCancelFor);
  if (!is_sent_)
    for (MPI_Request& request : requests_) MPI_Cancel(&request);
  const auto has_moved_on = [&] { return test() != MPI_SUCCESS || requests_.empty(); };
  while (!has_moved_on() && Clock::now() < limit) pause_after(Clock::duration());
  // The other side may be gone in the middle of it, and then it is never complete.
  if (!requests_.empty()) static_cast<void>(bytes_.release());
}

void Message::send(std::span<const std::byte> bytes, int to, int tag, MPI_Comm communicator) {
  is_sent_ = true;
  std::ranges::copy(bytes, bytes_.get());
  start([&](std::byte* piece, int count, MPI_Request* request) {
    check_mpi(MPI_Isend(piece, count, MPI_BYTE, to, tag, communicator, request), "MPI_Isend");
  });
}

void Message::receive(int from, int tag, MPI_Comm communicator) {
  start([&](std::byte* piece, int count, MPI_Request* request) {
    check_mpi(MPI_Irecv(piece, count, MPI_BYTE, from, tag, communicator, request), "MPI_Irecv");
  });
}

void Message::receive(MPI_Message found) {
  require(size_ <= max_piece_, "a message of one piece");
  start([&](std::byte* piece, int count, MPI_Request* request) {
    check_mpi(MPI_Imrecv(piece, count, MPI_BYTE, &found, request), "MPI_Imrecv");
  });
}

bool Message::is_complete() {
  check_mpi(test(), "MPI_Test");
  return requests_.empty();
}

// Drops the requests that are complete.
int Message::test() {
  while (!requests_.empty()) {
    int is_complete = 0;
    const int code = MPI_Test(&requests_.back(), &is_complete, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS || !is_complete) return code;
    requests_.pop_back();
  }
  return MPI_SUCCESS;
}

template <typename Start>
void Message::start(Start&& start_piece) {
  for (size_t first = 0; first == 0 || first < size_; first += max_piece_) {
    requests_.push_back(MPI_REQUEST_NULL);
    start_piece(bytes_.get() + first, static_cast<int>(std::min(max_piece_, size_ - first)),
                &requests_.back());
  }
}

}  // namespace eggroll
