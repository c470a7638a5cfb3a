// What a connection still has to send, in order: memory, ranges of files, and places kept for replies
// that are not known yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "net/stream.h"

namespace ftpd {

/// A file shared by the queue, the operation and jobs on the pool: closed when the last is done.
using SharedFd = std::shared_ptr<const UniqueFd>;

/// Costs 24 bytes while empty. Used on one loop.
class OutQueue {
 public:
  /// Names a place kept by reserve(); never reused within a connection.
  using Ticket = std::uint64_t;

  struct FileRange {
    SharedFd file;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    bool in_memory = false;  // tmpfs or memfd: sendfile never waits for a disk
  };

  void push(std::string_view bytes);  // copied; small neighbours are joined
  void push(std::string&& bytes);
  void push(const char* text) { push(std::string_view(text)); }
  void push_file(FileRange range);

  /// Keeps a place; nothing behind it leaves before fill(). fill() is called once a ticket.
  [[nodiscard]] Ticket reserve();
  void fill(Ticket ticket, std::string&& bytes);

  enum class Progress : std::uint8_t {
    empty,       // everything is out
    blocked,     // the socket takes no more
    waiting,     // a ticket is at the front
    cold,        // front_file()'s next bytes are not in memory: have the pool read them, then
                 // call warmed()
    budget,      // `budget` bytes went out; call again
    file_short,  // a file shrank below what was promised
    failed,      // error() says why
  };
  /// Sends at most about `budget` bytes.
  [[nodiscard]] Progress drain(Stream& stream, std::size_t budget);
  /// errno, with Progress::failed.
  [[nodiscard]] int error() const;

  /// With Progress::cold: what the pool has to read (at most warm_size bytes of it).
  static constexpr std::size_t warm_size = 1U << 20U;
  /// What is left of the file at the front; only while there is one.
  [[nodiscard]] const FileRange& front_file() const;
  /// The first `size` bytes of front_file() were read: they go out without another look.
  void warmed(std::uint64_t size);

  [[nodiscard]] bool empty() const { return impl_ == nullptr; }
  /// Bytes in memory, tickets counted as 64: what `reply_queue` bounds.
  [[nodiscard]] std::size_t memory() const;
  [[nodiscard]] std::size_t tickets() const;
  /// Bytes sent since the connection began: progress, for the stall deadline.
  [[nodiscard]] std::uint64_t sent() const { return sent_; }

 private:
  struct Impl;
  struct Forget {
    void operator()(Impl* impl) const;
  };
  Impl& impl();
  std::unique_ptr<Impl, Forget> impl_;  // none while empty
  std::uint64_t sent_ = 0;
  Ticket next_ticket_ = 0;
};

}  // namespace ftpd
