#include "common/messages/frame_connection.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/check.hpp"
#include "common/messages/collectives.hpp"

namespace eggroll {
namespace {

constexpr uint32_t kLargestFrame = 64 << 20;  // a view of many thousand ranks is far below

sockaddr_in address_of(uint32_t ipv4, uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ipv4;
  address.sin_port = htons(port);
  return address;
}

void send_at_once(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

std::string dotted(uint32_t ipv4) {
  char text[INET_ADDRSTRLEN] = {};
  inet_ntop(AF_INET, &ipv4, text, sizeof text);
  return text;
}

}  // namespace

std::string Endpoint::text() const {
  std::string list;
  for (uint16_t i = 0; i < addresses; ++i) list += (i == 0 ? "" : ", ") + dotted(ipv4[i]);
  return fmt::format("{} at {} port {}", host_text(), list.empty() ? "no address" : list, port);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

void Descriptor::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

FrameConnection::FrameConnection(Descriptor socket) : socket_(std::move(socket)) {
  send_at_once(socket_.get());
}

void FrameConnection::send(std::string_view frame) {
  const auto length = static_cast<uint32_t>(frame.size());
  unsent_.append(reinterpret_cast<const char*>(&length), sizeof length);
  unsent_.append(frame);
  flush();
}

void FrameConnection::flush() {
  while (is_open_ && !unsent_.empty()) {
    const ssize_t sent = ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      unsent_.erase(0, static_cast<size_t>(sent));
    } else if (sent < 0 && errno == EINTR) {
      continue;
    } else {
      // A broken connection is seen when it is read, after what had still arrived.
      return;
    }
  }
}

void FrameConnection::read() {
  char bytes[16384];
  while (is_open_) {
    const ssize_t count = recv(socket_.get(), bytes, sizeof bytes, 0);
    if (count > 0) {
      arrived_.append(bytes, static_cast<size_t>(count));
    } else if (count < 0 && errno == EINTR) {
      continue;
    } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return;
    } else {
      is_open_ = false;
    }
  }
}

std::optional<std::string> FrameConnection::take() {
  uint32_t length = 0;
  if (arrived_.size() < sizeof length) return std::nullopt;
  std::memcpy(&length, arrived_.data(), sizeof length);
  if (length > kLargestFrame) {  // not one of ours
    is_open_ = false;
    arrived_.clear();
    return std::nullopt;
  }
  if (arrived_.size() < sizeof length + length) return std::nullopt;
  std::string frame = arrived_.substr(sizeof length, length);
  arrived_.erase(0, sizeof length + length);
  return frame;
}

void FrameConnection::end_sending() {
  flush();
  unsent_.clear();
  shutdown(socket_.get(), SHUT_WR);
}

Listener Listener::open() {
  Listener listener;
  listener.socket = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address = address_of(htonl(INADDR_ANY), 0);
  socklen_t size = sizeof address;
  if (!listener.socket.is_valid() ||
      bind(listener.socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      listen(listener.socket.get(), 4096) != 0 ||
      getsockname(listener.socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw Error(fmt::format("cannot listen for the other ranks: {}", std::strerror(errno)));

  Endpoint& mine = listener.endpoint;
  const std::string host = host_name();
  std::memcpy(mine.host.data(), host.data(), std::min(host.size(), mine.host.size() - 1));
  mine.pid = getpid();
  mine.port = ntohs(address.sin_port);
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return listener;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    if ((each->ifa_flags & IFF_LOOPBACK) != 0 || (each->ifa_flags & IFF_UP) == 0) continue;
    if (mine.addresses == mine.ipv4.size()) break;
    sockaddr_in found;
    std::memcpy(&found, each->ifa_addr, sizeof found);
    mine.ipv4[mine.addresses++] = found.sin_addr.s_addr;
  }
  freeifaddrs(first);
  return listener;
}

std::unique_ptr<FrameConnection> Listener::accept() const {
  Descriptor arrived(accept4(socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!arrived.is_valid()) return nullptr;
  return std::make_unique<FrameConnection>(std::move(arrived));
}

Connected connect_to(const Endpoint& endpoint, std::chrono::milliseconds patience) {
  const bool is_here = endpoint.host_text() == host_name();
  std::vector<uint32_t> addresses(endpoint.ipv4.begin(),
                                  endpoint.ipv4.begin() + endpoint.addresses);
  if (is_here) addresses = {htonl(INADDR_LOOPBACK)};
  for (const uint32_t ipv4 : addresses) {
    Descriptor attempt(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!attempt.is_valid()) return {};
    const sockaddr_in address = address_of(ipv4, endpoint.port);
    int error = 0;
    if (connect(attempt.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      error = errno;
    if (error == EINPROGRESS) {
      pollfd ready{attempt.get(), POLLOUT, 0};
      error = ETIMEDOUT;
      if (poll(&ready, 1, static_cast<int>(patience.count())) > 0) {
        socklen_t size = sizeof error;
        getsockopt(attempt.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      }
    }
    if (error == 0)
      return {ConnectResult::connected, std::make_unique<FrameConnection>(std::move(attempt))};
    if (is_here && error == ECONNREFUSED) return {ConnectResult::refused, nullptr};
  }
  return {};
}

}  // namespace eggroll
