// The client's end of a connection: one loop that writes requests and reads replies at the same time.
#include "client/connection.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/sys.h"
#include "client/text.h"
#include "ftpd/json_write.h"

namespace ftpd::client {
namespace {

// A reply's header is as large as the daemon's `max_header`, which a client can't know beforehand.
constexpr std::size_t input_capacity = limits::largest_max_header;
constexpr std::size_t piece_size = 256U * 1024;

// Requests are gathered up to this, so that many small ones cost one write.
constexpr std::size_t enough_queued = 64U * 1024;

bool would_block(int number) { return number == EAGAIN || number == EWOULDBLOCK; }

int milliseconds_until(TimePoint deadline) {
  if (deadline == never) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

}  // namespace

Connection::Connection(UniqueFd socket, std::string name)
    : socket_(std::move(socket)),
      name_(std::move(name)),
      conversation_(Conversation::Side::client, limits::largest_max_header, 0),
      in_(input_capacity) {
  const int flags = sys::fcntl(socket_.get(), F_GETFL);
  if (flags != -1) sys::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK);
}

void Connection::request(std::string_view header_json) {
  append_frame(out_, header_json);
  ++due_;
}

void Connection::frame(std::string_view header_json) { append_frame(out_, header_json); }

void Connection::body(std::string_view bytes) { out_ += bytes; }

void Connection::body(UniqueFd file, std::uint64_t size) {
  file_ = std::move(file);
  file_offset_ = 0;
  file_remaining_ = size;
}

void Connection::break_promise() {
  // Nothing can follow; what was sent before is answered.
  file_was_short_ = true;
  sending_failed();
}

Outcome<void> Connection::run(Task& task) {
  for (;;) {
    const auto next = take_input(task);
    if (!next) return std::unexpected(next.error());
    if (*next == Next::stop) return {};
    const auto supply = ask_for_more(task);
    if (!supply) return std::unexpected(supply.error());
    if (*supply == Supply::finished && due_ == 0 && drained()) return {};
    if (file_was_short_ && due_ <= 1) return local_failure("the file became shorter while it was sent");
    if (ended_) {
      return connection_failure(
          fmt::format("{}: the connection was closed {}", name_,
                      conversation_.idle() ? "before the reply" : "in the middle of a reply"));
    }
    if (auto sent = flush(); !sent) return sent;
    // The end of what was refused has gone out: nothing is left to wait for.
    if (*supply == Supply::finished && due_ == 0 && drained()) continue;
    if (auto waited = wait(*supply, task.input_fd()); !waited) return waited;
    task.moved(*this);
  }
}

/// Gives the task everything that the input holds.
Outcome<Next> Connection::take_input(Task& task) {
  for (;;) {
    if (conversation_.state() == Conversation::State::RESPOND) {
      if (due_ == 0) return Next::go_on;
      conversation_.next_message();
    }
    const Conversation::Outcome outcome = conversation_.advance(in_.unread(), parser_, true);
    const auto next = take_step(task, outcome);
    in_.consume(outcome.consumed);
    if (!next || *next == Next::stop) return next;
    if (outcome.step == Conversation::Step::need_input) return Next::go_on;
  }
}

Outcome<Next> Connection::take_step(Task& task, const Conversation::Outcome& outcome) {
  switch (outcome.step) {
    case Conversation::Step::need_input: return Next::go_on;
    case Conversation::Step::header:
      if (auto taken = task.header(conversation_.header()); !taken) return std::unexpected(taken.error());
      return Next::go_on;
    case Conversation::Step::body: return task.body(outcome.bytes);
    case Conversation::Step::message_end: --due_; return task.end();
    case Conversation::Step::discard_over:
    case Conversation::Step::broken: break;
  }
  const std::string why =
      outcome.step == Conversation::Step::broken ? conversation_.problem() : std::string{"out of step"};
  return connection_failure(
      fmt::format("{}: this is no ftpd, or not its frame dialect: {}", name_, printable(why)));
}

Outcome<Supply> Connection::ask_for_more(Task& task) {
  Supply supply = Supply::queued;
  while (supply == Supply::queued && can_send_ && !ended_ && out_.size() - out_sent_ < enough_queued &&
         file_remaining_ == 0) {
    // Little is left to be moved; flush() leaves what is large where it is.
    out_.erase(0, std::exchange(out_sent_, 0));
    auto answer = task.supply(*this);
    if (!answer) return answer;
    supply = *answer;
  }
  // What the peer no longer takes is dropped; its last words are still read.
  if (!can_send_) return Supply::replies;
  return supply;
}

Outcome<void> Connection::flush() {
  while (can_send_ && out_sent_ < out_.size()) {
    const int flags = MSG_NOSIGNAL | (file_remaining_ > 0 ? MSG_MORE : 0);
    const ssize_t count = sys::send(socket_.get(), out_.data() + out_sent_, out_.size() - out_sent_, flags);
    if (count < 0) {
      if (!would_block(errno)) sending_failed();
      break;
    }
    out_sent_ += static_cast<std::size_t>(count);
  }
  if (out_sent_ == out_.size()) {
    out_.clear();
    out_sent_ = 0;
  }
  if (out_.empty() && file_remaining_ > 0) return flush_file();
  return {};
}

Outcome<void> Connection::flush_file() {
  while (file_remaining_ > 0) {
    auto offset = static_cast<off_t>(file_offset_);
    const std::size_t wanted = std::min<std::uint64_t>(file_remaining_, piece_size);
    const ssize_t count = sys::sendfile(socket_.get(), file_.get(), &offset, wanted);
    if (count < 0 && would_block(errno)) return {};
    if (count < 0 && (errno == EPIPE || errno == ECONNRESET)) {
      sending_failed();
      return {};
    }
    if (count <= 0) {
      break_promise();
      return {};
    }
    file_offset_ += static_cast<std::uint64_t>(count);
    file_remaining_ -= static_cast<std::uint64_t>(count);
    // One piece a turn: an error reply has to be seen while a large file goes out.
    if (file_remaining_ > 0) return {};
  }
  file_.reset();
  return {};
}

void Connection::sending_failed() {
  can_send_ = false;
  out_.clear();
  out_sent_ = 0;
  file_.reset();
  file_remaining_ = 0;
}

Outcome<void> Connection::wait(Supply supply, int input_fd) {
  const bool blocked = !drained();
  const bool more_now = !blocked && supply == Supply::queued;
  pollfd watched[2] = {
      {socket_.get(), static_cast<short>(POLLIN | (blocked ? POLLOUT : 0)), 0},
      {supply == Supply::waiting && !blocked ? input_fd : -1, POLLIN, 0},
  };
  // While our own input is awaited there is nothing to be impatient about.
  const TimePoint deadline = supply == Supply::waiting ? never : deadline_after(Clock::now(), patience_);
  for (;;) {
    const int ready = sys::poll(watched, 2, more_now ? 0 : milliseconds_until(deadline));
    if (ready < 0) return system_failure(errno, "poll");
    if (ready > 0 || more_now) break;
    if (Clock::now() >= deadline) return connection_failure(name_ + ": no answer");
  }
  if (watched[0].revents & (POLLIN | POLLHUP | POLLERR)) return receive();
  return {};
}

Outcome<void> Connection::receive() {
  in_.compact();
  const auto room = in_.room();
  // No room: replies that nobody asked for. The owner's next requests make sense of them or not.
  if (room.empty()) return connection_failure(name_ + ": the peer talks without being asked");
  const ssize_t count = sys::recv(socket_.get(), room.data(), std::min(room.size(), piece_size), 0);
  if (count > 0) {
    in_.filled(static_cast<std::size_t>(count));
  } else if (count == 0) {
    ended_ = true;
  } else if (!would_block(errno)) {
    return connection_failure(Error::from_errno(errno, name_).text);
  }
  return {};
}

}  // namespace ftpd::client
