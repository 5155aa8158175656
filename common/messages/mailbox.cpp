#include "common/messages/mailbox.hpp"

namespace eggroll {

Mailbox::Mailbox(std::shared_ptr<Communicator> communicator, int tag)
    : communicator_(std::move(communicator)), tag_(tag) {}

void Mailbox::post(int to, std::span<const std::byte> bytes) {
  require(bytes.size() <= kMailBytes, "mail that travels in one piece");
  while (!leaving_.empty() && leaving_.front()->is_complete()) leaving_.pop_front();
  leaving_.push_back(std::make_unique<Message>(bytes.size(), kMailBytes));
  leaving_.back()->send(bytes, to, tag_, communicator_->handle);
}

std::optional<Mail> Mailbox::collect() {
  while (!leaving_.empty() && leaving_.front()->is_complete()) leaving_.pop_front();
  if (!arriving_) {
    int is_there = 0;
    MPI_Message found = MPI_MESSAGE_NULL;
    MPI_Status status;
    check_mpi(MPI_Improbe(MPI_ANY_SOURCE, tag_, communicator_->handle, &is_there, &found, &status),
              "MPI_Improbe");
    if (!is_there) return std::nullopt;
    int size = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &size), "MPI_Get_count");
    arriving_from_ = status.MPI_SOURCE;
    arriving_ = std::make_unique<Message>(static_cast<size_t>(size), kMailBytes);
    arriving_->receive(found);
  }
  if (!arriving_->is_complete()) return std::nullopt;
  const auto bytes = arriving_->bytes();
  Mail mail{arriving_from_, {bytes.begin(), bytes.end()}};
  arriving_.reset();
  return mail;
}

}  // namespace eggroll
