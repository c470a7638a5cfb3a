// The queue of one connection's output, and how it is drained without copying.
#include "net/out_queue.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/sys.h"

namespace ftpd {
namespace {

constexpr std::size_t join_max = 16U << 10U;       // a chunk of joined small pushes
constexpr std::size_t parts_max = 64;              // of one sendmsg
constexpr std::size_t place_cost = 64;             // what a ticket's place counts as in memory()
constexpr std::uint64_t probe_span = 256U << 10U;  // of which the first and the last page are looked at
constexpr std::uint64_t probe_max = 2U << 20U;     // looked at for one sendfile: what a socket may take
constexpr std::size_t compact_after = 64;          // used-up pieces before the others move up

struct Memory {
  std::string text;
  std::size_t begin = 0;  // what is left begins here
  [[nodiscard]] std::size_t left() const { return text.size() - begin; }
};
struct Place {
  OutQueue::Ticket ticket = 0;
};
/// A FileRange is what is left of it.
using Piece = std::variant<Memory, OutQueue::FileRange, Place>;

/// What one system call came to, and why to stop after it, if so.
struct Step {
  std::size_t sent = 0;
  std::optional<OutQueue::Progress> stop;
};

/// Whether the byte at `offset` can be read without waiting for a disk. Where the file system can't
/// tell, and behind the end, it counts as there.
bool in_page_cache(int fd, std::uint64_t offset) {
  char byte = 0;
  const iovec part{&byte, 1};
  return sys::preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

}  // namespace

/// Pieces in order; those before `head` are used up. A vector, since most queues hold one piece.
struct OutQueue::Impl {
  std::vector<Piece> pieces;
  std::size_t head = 0;
  std::size_t memory = 0;
  std::size_t tickets = 0;
  // Of the first file in the queue, as offsets in it: warmed() vouches for what is before the one,
  // this drain has seen in memory what is before the other.
  std::uint64_t warm_until = 0;
  std::uint64_t probed_until = 0;
  int error = 0;

  [[nodiscard]] bool done() const { return head == pieces.size(); }
  [[nodiscard]] Piece& front() { return pieces[head]; }

  [[nodiscard]] Memory* joinable(std::size_t size);
  void pop();

  [[nodiscard]] Step step(Stream& stream, std::size_t budget);
  [[nodiscard]] Step send_memory(Stream& stream, std::size_t budget);
  [[nodiscard]] Step send_file(Stream& stream, FileRange& range, std::size_t budget);
  [[nodiscard]] Step stop_after(const Moved& moved, std::size_t asked);
  [[nodiscard]] Stream::Follow what_follows(std::size_t index);
  [[nodiscard]] std::uint64_t warm_bytes(const FileRange& range, std::uint64_t wanted);
  void consume(std::size_t count);
};

void OutQueue::Forget::operator()(Impl* impl) const { delete impl; }

OutQueue::Impl& OutQueue::impl() {
  if (impl_ == nullptr) impl_.reset(new Impl);
  return *impl_;
}

// --- filling ---

/// The chunk at the end of the queue that has room for `size` more bytes; null for none.
Memory* OutQueue::Impl::joinable(std::size_t size) {
  if (done()) return nullptr;
  auto* const last = std::get_if<Memory>(&pieces.back());
  return last != nullptr && last->text.size() + size <= join_max ? last : nullptr;
}

void OutQueue::push(std::string_view bytes) {
  if (bytes.empty()) return;
  Impl& queue = impl();
  queue.memory += bytes.size();
  if (Memory* const last = queue.joinable(bytes.size())) {
    last->text += bytes;
  } else {
    queue.pieces.emplace_back(Memory{std::string(bytes)});
  }
}

void OutQueue::push(std::string&& bytes) {
  if (bytes.empty()) return;
  Impl& queue = impl();
  queue.memory += bytes.size();
  if (Memory* const last = queue.joinable(bytes.size())) {
    last->text += bytes;
  } else {
    queue.pieces.emplace_back(Memory{std::move(bytes)});
  }
}

void OutQueue::push_file(FileRange range) {
  if (range.size == 0) return;
  impl().pieces.emplace_back(std::move(range));
}

OutQueue::Ticket OutQueue::reserve() {
  Impl& queue = impl();
  const Ticket ticket = next_ticket_++;
  queue.pieces.emplace_back(Place{ticket});
  queue.memory += place_cost;
  ++queue.tickets;
  return ticket;
}

void OutQueue::fill(Ticket ticket, std::string&& bytes) {
  Impl& queue = impl();
  for (std::size_t i = queue.head; i < queue.pieces.size(); ++i) {
    const auto* const place = std::get_if<Place>(&queue.pieces[i]);
    if (place == nullptr || place->ticket != ticket) continue;
    queue.memory = queue.memory - place_cost + bytes.size();
    --queue.tickets;
    queue.pieces[i] = Memory{std::move(bytes)};
    return;
  }
  assert(false && "a ticket that is not in the queue");
}

// --- draining ---

OutQueue::Progress OutQueue::drain(Stream& stream, std::size_t budget) {
  if (impl_ == nullptr) return Progress::empty;
  impl_->probed_until = 0;  // since the last time, memory may have become scarce
  while (!impl_->done()) {
    if (budget == 0) return Progress::budget;
    const Step step = impl_->step(stream, budget);
    sent_ += step.sent;
    budget -= step.sent;
    if (step.stop) return *step.stop;
  }
  impl_.reset();
  return Progress::empty;
}

Step OutQueue::Impl::step(Stream& stream, std::size_t budget) {
  if (std::holds_alternative<Place>(front())) return {0, Progress::waiting};
  if (auto* const range = std::get_if<FileRange>(&front())) return send_file(stream, *range, budget);
  return send_memory(stream, budget);
}

/// Gathers the memory pieces at the front into one call.
Step OutQueue::Impl::send_memory(Stream& stream, std::size_t budget) {
  std::array<iovec, parts_max> parts;
  std::size_t count = 0;
  std::size_t total = 0;
  std::size_t index = head;
  for (; index < pieces.size() && count < parts.size() && total < budget; ++index) {
    auto* const memory_piece = std::get_if<Memory>(&pieces[index]);
    if (memory_piece == nullptr) break;
    const std::size_t size = std::min(memory_piece->left(), budget - total);
    if (size == 0) continue;  // a ticket that was filled with nothing
    parts[count++] = {memory_piece->text.data() + memory_piece->begin, size};
    total += size;
  }
  if (count == 0) {
    consume(0);
    return {};
  }
  const Moved moved = stream.write({parts.data(), count}, what_follows(index));
  consume(moved.count);
  return stop_after(moved, total);
}

/// Hands the kernel as much of the file as is in memory and within the budget.
Step OutQueue::Impl::send_file(Stream& stream, FileRange& range, std::size_t budget) {
  const auto size = static_cast<std::size_t>(warm_bytes(range, budget));
  if (size == 0) return {0, Progress::cold};
  const Moved moved = stream.send_file(range.file->get(), range.offset, size);
  range.size -= moved.count;
  if (range.size == 0) {
    pop();
    warm_until = probed_until = 0;
  }
  return stop_after(moved, size);
}

Step OutQueue::Impl::stop_after(const Moved& moved, std::size_t asked) {
  switch (moved.how) {
    case Moved::How::some:
      // A short count means a full socket, which is not asked again to say so. Where it was the file
      // that ended early, the socket is writable at once and the next drain finds out.
      if (moved.count < asked) return {moved.count, Progress::blocked};
      return {moved.count, std::nullopt};
    case Moved::How::blocked: return {0, Progress::blocked};
    case Moved::How::ended: return {0, Progress::file_short};
    case Moved::How::failed: break;
  }
  error = moved.error;
  return {0, Progress::failed};
}

/// What comes after the memory pieces that end before `index`: a packet waits for a file's bytes only
/// where they can follow at once.
Stream::Follow OutQueue::Impl::what_follows(std::size_t index) {
  if (index == pieces.size()) return Stream::Follow::nothing;
  const auto* const range = std::get_if<FileRange>(&pieces[index]);
  if (range == nullptr || warm_bytes(*range, 1) == 0) return Stream::Follow::nothing;
  return Stream::Follow::more;
}

/// How many of the next `wanted` bytes of the first file can be sent without waiting for a disk. Looks
/// no further than a socket is likely to take, since what it leaves is looked at again.
std::uint64_t OutQueue::Impl::warm_bytes(const FileRange& range, std::uint64_t wanted) {
  wanted = std::min(wanted, range.size);
  if (range.in_memory) return wanted;
  const std::uint64_t end = range.offset + range.size;
  const std::uint64_t target = range.offset + std::min(wanted, probe_max);
  std::uint64_t warm = std::max({range.offset, warm_until, probed_until});
  while (warm < target) {
    const std::uint64_t next = std::min(warm + probe_span, end);
    if (!in_page_cache(range.file->get(), warm) || !in_page_cache(range.file->get(), next - 1)) break;
    warm = probed_until = next;
  }
  return std::min(warm, target) - range.offset;
}

/// Takes `count` sent bytes, and what is used up, from the memory pieces at the front.
void OutQueue::Impl::consume(std::size_t count) {
  memory -= count;
  while (!done()) {
    auto* const piece = std::get_if<Memory>(&front());
    if (piece == nullptr) return;
    const std::size_t taken = std::min(count, piece->left());
    piece->begin += taken;
    count -= taken;
    if (piece->left() > 0) return;
    pop();
  }
}

void OutQueue::Impl::pop() {
  pieces[head] = Piece{};
  if (++head < compact_after || head * 2 < pieces.size()) return;
  pieces.erase(pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(head));
  head = 0;
}

// --- asking ---

int OutQueue::error() const { return impl_ == nullptr ? 0 : impl_->error; }

const OutQueue::FileRange& OutQueue::front_file() const {
  assert(impl_ != nullptr && !impl_->done());
  return std::get<FileRange>(impl_->front());
}

void OutQueue::warmed(std::uint64_t size) {
  const FileRange& range = front_file();
  impl_->warm_until = range.offset + std::min(size, range.size);
}

std::size_t OutQueue::memory() const { return impl_ == nullptr ? 0 : impl_->memory; }
std::size_t OutQueue::tickets() const { return impl_ == nullptr ? 0 : impl_->tickets; }

}  // namespace ftpd
