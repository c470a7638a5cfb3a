// The linear input buffer that a loop lends to a connection.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace ftpd {

/// A fixed allocation with a readable part in the middle:
///
///     |  consumed  |  unread()  |  room()  | padding |
///     0          begin         end      capacity
///
/// `padding` is never handed out, so that a parser may read (not use) past the end of the text.
/// Not thread-safe; owned by one loop and lent.
class Buffer {
 public:
  static constexpr std::size_t padding = 64;  // at least simdjson::SIMDJSON_PADDING; a test compares them

  explicit Buffer(std::size_t capacity)
      : bytes_(std::make_unique<char[]>(capacity + padding)), capacity_(capacity) {}

  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }

  /// Valid until the next consume, compact or append.
  [[nodiscard]] std::string_view unread() const { return {bytes_.get() + begin_, end_ - begin_}; }
  void consume(std::size_t count) {
    assert(count <= end_ - begin_);
    begin_ += count;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  [[nodiscard]] std::span<char> room() { return {bytes_.get() + end_, capacity_ - end_}; }
  void filled(std::size_t count) {
    assert(count <= capacity_ - end_);
    end_ += count;
  }

  /// Moves the unread part to the front, so that all the room is in one piece.
  void compact() {
    if (begin_ == 0) return;
    std::memmove(bytes_.get(), bytes_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  void clear() { begin_ = end_ = 0; }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace ftpd
