// The client's end of a connection: requests out, replies in, both at once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/unique_fd.h"
#include "client/outcome.h"
#include "ftpd/conversation.h"
#include "ftpd/message.h"

namespace ftpd::client {

class Connection;

/// What a Task has to say when there is room for more requests.
enum class Supply : std::uint8_t {
  queued,    // something was queued; ask again when there is room
  waiting,   // for input_fd() to become readable
  replies,   // for replies that are due
  finished,  // no request will follow; done when the replies that are due have come
};

enum class Next : std::uint8_t { go_on, stop };

/// What one run() of a connection is for: it makes the requests and takes the replies, in order.
/// A Failure that a call returns ends the run with it.
class Task {
 public:
  virtual ~Task() = default;

  /// Little or nothing is queued.
  [[nodiscard]] virtual Outcome<Supply> supply(Connection& connection) = 0;
  [[nodiscard]] virtual int input_fd() const { return -1; }

  /// A frame's header, each of a message: valid during the call.
  [[nodiscard]] virtual Outcome<void> header(const Header& header) = 0;
  /// Next::stop interrupts the run, which another run() of the same task goes on with.
  [[nodiscard]] virtual Outcome<Next> body(std::string_view bytes) = 0;
  /// The reply is complete.
  [[nodiscard]] virtual Outcome<Next> end() = 0;

  /// Bytes may have moved: for progress.
  virtual void moved(const Connection&) {}
};

/// Owns a connected socket, which it makes non-blocking. After a Failure, or a run that was stopped at a
/// reply's end while others or output were outstanding, it is only good for destruction.
class Connection {
 public:
  /// `name` is how messages call the peer.
  Connection(UniqueFd socket, std::string name);

  /// Queues the first frame of a request; its reply is due from here on. `more`: frames follow.
  void request(std::string_view header_json);
  /// Queues a frame that continues the request.
  void frame(std::string_view header_json);
  /// Queues a piece of the body that the last header announced.
  void body(std::string_view bytes);
  /// The same, `size` bytes from the start of a file. One at a time, with nothing queued behind it.
  void body(UniqueFd file, std::uint64_t size);
  /// The same, as many bytes as `fill` (char*, std::size_t -> std::size_t) puts where they belong, at most
  /// `most`.
  template <class Fill>
  void body_in_place(std::size_t most, Fill&& fill) {
    const std::size_t size = out_.size();
    out_.resize_and_overwrite(size + most,
                              [&](char* bytes, std::size_t) { return size + fill(bytes + size, most); });
  }
  /// The file became shorter than the body announced for it: see file_was_short().
  void break_promise();

  /// Writes what is queued and gives the replies to `task` until it stops or everything is done.
  [[nodiscard]] Outcome<void> run(Task& task);

  static constexpr Duration usual_patience = std::chrono::minutes{5};
  /// How long neither side may move a byte while a reply is due. Zero: for ever.
  void set_patience(Duration patience) { patience_ = patience; }

  /// Bytes of the file given to body() that are still to be sent.
  [[nodiscard]] std::uint64_t file_remaining() const { return file_remaining_; }
  /// A file was shorter than promised. The run fails with Who::local when all requests but this one are
  /// answered.
  [[nodiscard]] bool file_was_short() const { return file_was_short_; }
  /// Everything that was queued is with the kernel.
  [[nodiscard]] bool drained() const { return out_.empty() && file_remaining_ == 0; }
  /// False once the peer takes no more; what it has said can still be read.
  [[nodiscard]] bool can_send() const { return can_send_; }
  /// Requests whose replies have not come.
  [[nodiscard]] std::uint64_t due() const { return due_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  [[nodiscard]] Outcome<Next> take_input(Task& task);
  [[nodiscard]] Outcome<Next> take_step(Task& task, const Conversation::Outcome& outcome);
  [[nodiscard]] Outcome<Supply> ask_for_more(Task& task);
  [[nodiscard]] Outcome<void> flush();
  [[nodiscard]] Outcome<void> flush_file();
  [[nodiscard]] Outcome<void> wait(Supply supply, int input_fd);
  [[nodiscard]] Outcome<void> receive();
  void sending_failed();

  UniqueFd socket_;
  std::string name_;
  Conversation conversation_;
  HeaderParser parser_;
  Buffer in_;
  std::string out_;
  std::size_t out_sent_ = 0;  // of out_, from its start
  UniqueFd file_;
  std::uint64_t file_remaining_ = 0;
  std::uint64_t file_offset_ = 0;
  std::uint64_t due_ = 0;
  Duration patience_ = usual_patience;
  bool file_was_short_ = false;
  bool can_send_ = true;
  bool ended_ = false;
};

/// HOST:PORT (a literal address or a name), [V6]:PORT, :PORT or unix:PATH. Each address of a name is
/// tried in turn, at most 10 s each. Fails with Who::usage for a malformed address, Who::connection else.
[[nodiscard]] Outcome<UniqueFd> dial(const std::string& address);

}  // namespace ftpd::client
