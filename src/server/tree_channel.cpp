#include "server/tree_channel.h"

#include <utility>

namespace ftpd {

// --- in -------------------------------------------------------------------------------------------
std::size_t InputChannel::room() {
  const std::lock_guard lock(mutex_);
  const std::size_t room = filling_.size() < capacity ? capacity - filling_.size() : 0;
  room_is_wanted_ = room == 0;
  return room;
}

void InputChannel::push(std::string_view bytes) {
  {
    const std::lock_guard lock(mutex_);
    filling_ += bytes;
  }
  changed_.notify_one();
}

void InputChannel::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_one();
}

void InputChannel::fail(Error error) {
  {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }
  changed_.notify_one();
}

Result<std::span<const char>> InputChannel::pull() {
  bool room_was_wanted = false;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return error_ || closed_ || !filling_.empty(); });
    if (error_) return std::unexpected(*error_);
    emptying_.clear();
    std::swap(emptying_, filling_);
    room_was_wanted = std::exchange(room_is_wanted_, false);
  }
  if (room_was_wanted) on_room_();
  return std::span<const char>{emptying_};
}

// --- out ------------------------------------------------------------------------------------------
Result<void> OutputChannel::push(std::span<const char> bytes) {
  while (!bytes.empty()) {
    if (filling_.empty()) filling_.reserve(chunk_size);
    const auto part = bytes.first(std::min(bytes.size(), chunk_size - filling_.size()));
    filling_.append(part.data(), part.size());
    bytes = bytes.subspan(part.size());
    if (filling_.size() < chunk_size) continue;
    if (auto flushed = flush(); !flushed) return flushed;
  }
  return {};
}

Result<void> OutputChannel::flush() {
  bool first = false;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return cancelled_ || chunks_.size() < most_chunks; });
    if (cancelled_) return fail(Reason::aborted, "nobody waits for it any more");
    if (filling_.empty()) return {};
    first = chunks_.empty();
    chunks_.push_back(std::exchange(filling_, {}));
  }
  if (first) on_chunk_();
  return {};
}

std::optional<std::string> OutputChannel::take() {
  std::optional<std::string> chunk;
  {
    const std::lock_guard lock(mutex_);
    if (chunks_.empty()) return chunk;
    chunk = std::move(chunks_.front());
    chunks_.pop_front();
  }
  changed_.notify_one();
  return chunk;
}

void OutputChannel::cancel() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    chunks_.clear();
  }
  changed_.notify_one();
}

}  // namespace ftpd
