// The verb raw: standard input to the socket, the socket to standard output.
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/sys.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

class RawPump {
 public:
  RawPump(UniqueFd socket, std::string peer) : socket_(std::move(socket)), peer_(std::move(peer)) {}

  /// Until the peer has nothing more to say.
  Outcome<void> run() {
    for (;;) {
      const bool pending = begin_ < end_;
      pollfd watched[2] = {
          {socket_.get(), static_cast<short>(POLLIN | (pending ? POLLOUT : 0)), 0},
          {!input_ended_ && !pending ? STDIN_FILENO : -1, POLLIN, 0},
      };
      if (sys::poll(watched, 2, -1) < 0) return system_failure(errno, "poll");
      if (watched[1].revents != 0) {
        if (auto read = read_input(); !read) return read;
      }
      send_pending();
      if ((watched[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
      const auto more = receive();
      if (!more) return std::unexpected(more.error());
      if (*more == Next::stop) return {};
    }
  }

 private:
  Outcome<void> read_input() {
    const ssize_t count = sys::read(STDIN_FILENO, input_.data(), input_.size());
    if (count < 0) return system_failure(errno, "standard input");
    begin_ = 0;
    end_ = static_cast<std::size_t>(count);
    if (count == 0) {
      input_ended_ = true;
      sys::shutdown(socket_.get(), SHUT_WR);
    }
    return {};
  }

  void send_pending() {
    while (begin_ < end_) {
      const ssize_t count = sys::send(socket_.get(), input_.data() + begin_, end_ - begin_, MSG_NOSIGNAL);
      if (count < 0 && errno == EAGAIN) return;
      if (count < 0) {
        // The peer takes no more; what it has said is still there to be read.
        input_ended_ = true;
        begin_ = end_;
        return;
      }
      begin_ += static_cast<std::size_t>(count);
    }
  }

  Outcome<Next> receive() {
    const ssize_t count = sys::recv(socket_.get(), output_.data(), output_.size(), 0);
    if (count < 0 && errno == EAGAIN) return Next::go_on;
    if (count < 0) return connection_failure(Error::from_errno(errno, peer_).text);
    if (count == 0) return Next::stop;
    auto written =
        write_all(STDOUT_FILENO, {output_.data(), static_cast<std::size_t>(count)}, "standard output");
    if (!written) return std::unexpected(written.error());
    return Next::go_on;
  }

  UniqueFd socket_;
  std::string peer_;
  std::array<char, 64U * 1024> input_{};
  std::array<char, 64U * 1024> output_{};
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool input_ended_ = false;
};

}  // namespace

Outcome<void> run_raw(const Session& session) {
  auto socket = dial(session.options.address);
  if (!socket) return std::unexpected(socket.error());
  return RawPump{std::move(*socket), session.options.address}.run();
}

}  // namespace ftpd::client
