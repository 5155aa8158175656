// Mailbox between single ranks of a communicator, beside the collectives: how both kinds of groups
// post and collect them. For the files that call MPI.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "common/messages/collectives.hpp"
#include "common/messages/message.hpp"

namespace eggroll {

class Mailbox {
 public:
  // Those with this tag.
  Mailbox(std::shared_ptr<Communicator> communicator, int tag);

  // to, from: ranks of the communicator.
  void post(int to, std::span<const std::byte> bytes);
  std::optional<Mail> collect();

 private:
  std::shared_ptr<Communicator> communicator_;
  int tag_;
  std::deque<std::unique_ptr<Message>> leaving_;
  std::unique_ptr<Message> arriving_;
  int arriving_from_ = 0;
};

}  // namespace eggroll
