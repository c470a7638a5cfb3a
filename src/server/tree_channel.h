// Bytes between a loop, which never waits, and a thread that may.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace ftpd {

/// From the loop to the thread. Two buffers take turns: the loop fills one while the thread empties the
/// other.
class InputChannel {
 public:
  /// `on_room` is called on the thread when the loop found no room and there is some now.
  explicit InputChannel(std::function<void()> on_room) : on_room_(std::move(on_room)) {}

  // --- the loop

  /// How much may be pushed now.
  [[nodiscard]] std::size_t room();
  void push(std::string_view bytes);
  /// The stream is complete.
  void close();
  /// It never will be: the thread is told so in place of all that waits.
  void fail(Error error);

  // --- the thread

  /// Blocks until there is something; empty at the stream's end. Valid until the next call.
  [[nodiscard]] Result<std::span<const char>> pull();

 private:
  static constexpr std::size_t capacity = 512 * 1024;

  std::function<void()> on_room_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string filling_;          // under mutex_, like what follows
  bool room_is_wanted_ = false;  // the loop waits for on_room
  bool closed_ = false;
  std::optional<Error> error_;
  std::string emptying_;  // the thread's
};

/// From the thread to the loop, in chunks.
class OutputChannel {
 public:
  /// `on_chunk` is called on the thread when there is a chunk after there was none.
  explicit OutputChannel(std::function<void()> on_chunk) : on_chunk_(std::move(on_chunk)) {}

  // --- the thread

  /// Small pieces are collected. Blocks while enough waits; Reason::aborted once nobody wants it.
  [[nodiscard]] Result<void> push(std::span<const char> bytes);
  /// What was collected last goes out.
  [[nodiscard]] Result<void> flush();

  // --- the loop

  [[nodiscard]] std::optional<std::string> take();
  void cancel();

 private:
  static constexpr std::size_t chunk_size = 256 * 1024;
  static constexpr std::size_t most_chunks = 3;

  std::function<void()> on_chunk_;
  std::string filling_;  // the thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> chunks_;  // under mutex_, like what follows
  bool cancelled_ = false;
};

}  // namespace ftpd
