// Short frames over TCP between the ranks of one job, beside MPI: for membership.cpp alone. Nothing
// here blocks, except connect_to for a stated time. A frame is its length in 4 bytes and its bytes.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace eggroll {

// Where a process can be reached; travels as bytes.
struct Endpoint {
  std::array<char, 64> host{};
  int32_t pid = 0;
  uint16_t port = 0;
  uint16_t addresses = 0;
  std::array<uint32_t, 8> ipv4{};  // network byte order

  std::string host_text() const { return std::string(host.data()); }
  std::string text() const;  // "n2 at 10.0.0.5, 10.1.0.5 port 41213"
};

// An owner of a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;

  int get() const { return fd_; }
  bool is_valid() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

class FrameConnection {
 public:
  explicit FrameConnection(Descriptor socket);

  int descriptor() const { return socket_.get(); }
  // False once the other side has ended or the connection broke. Frames that came before are still
  // there to be taken.
  bool is_open() const { return is_open_; }
  bool has_unsent() const { return !unsent_.empty(); }

  void send(std::string_view frame);  // queued, and written as far as the socket takes it
  void flush();
  void read();                        // what has arrived
  std::optional<std::string> take();  // the next whole frame
  // No more will be sent; the other side still gets what was.
  void end_sending();

 private:
  Descriptor socket_;
  bool is_open_ = true;
  std::string unsent_;
  std::string arrived_;
};

// A socket on a free port of every address, and how others reach it.
struct Listener {
  Descriptor socket;
  Endpoint endpoint;

  static Listener open();  // throws Error
  // A new connection, or nothing.
  std::unique_ptr<FrameConnection> accept() const;
};

enum class ConnectResult { connected, refused, no_answer };
struct Connected {
  ConnectResult result = ConnectResult::no_answer;
  std::unique_ptr<FrameConnection> connection;
};
// Tries the addresses of an endpoint one after another, each at most this long. On the own host the
// loopback address alone, where a refusal means that nobody listens there any more.
Connected connect_to(const Endpoint& endpoint, std::chrono::milliseconds patience);

}  // namespace eggroll
