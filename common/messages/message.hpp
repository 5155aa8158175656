// One message, sent or awaited, in pieces that MPI can count; for the files that call MPI. It owns
// its memory, which is left to the library where an operation can neither be completed nor be taken
// back, as when the other side is lost in the middle of it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "common/messages/mpi_calls.hpp"

namespace eggroll {

class Message {
 public:
  Message(size_t size, size_t max_piece);
  ~Message();
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  void send(std::span<const std::byte> bytes, int to, int tag, MPI_Comm communicator);
  void receive(int from, int tag, MPI_Comm communicator);
  // One that MPI_Improbe has found; of one piece.
  void receive(MPI_Message found);
  bool is_complete();
  std::span<const std::byte> bytes() const { return {bytes_.get(), size_}; }

 private:
  int test();
  template <typename Start>
  void start(Start&& start_piece);

  std::unique_ptr<std::byte[]> bytes_;
  size_t size_;
  size_t max_piece_;
  bool is_sent_ = false;
  std::vector<MPI_Request> requests_;
};

}  // namespace eggroll
