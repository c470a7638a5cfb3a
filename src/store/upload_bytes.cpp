// An upload's bytes: their room, their way into the file, their digests.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "store/upload_state.h"

namespace ftpd {
namespace {

/// Up to here a reservation costs more than it tells: write(2) reports a full disk soon enough.
constexpr std::uint64_t not_worth_reserving = 64 * 1024;

/// A quota is asked for that much at a time where the size is not known.
constexpr std::uint64_t quota_step = 1U << 20U;

constexpr std::size_t hashing_buffer = 256 * 1024;

/// One for each thread that hashes what comes out of a pipe.
std::span<char> buffer_of_thread() {
  thread_local const std::unique_ptr<char[]> buffer(new char[hashing_buffer]);
  return {buffer.get(), hashing_buffer};
}

Result<void> reserve(int file, int mode, std::uint64_t begin, std::uint64_t size) {
  if (begin + size > static_cast<std::uint64_t>(INT64_MAX)) return fail(Reason::too_large, "file too large");
  // A file system in memory would take all that is free before it finds out that it is too little, and
  // others would meet a full one meanwhile.
  struct statfs status{};
  const bool known = sys::fstatfs(file, status) == 0 && status.f_bsize > 0;
  if (known && size / static_cast<std::uint64_t>(status.f_bsize) > status.f_bavail) {
    return fail_errno(ENOSPC, "reserve the room of a file");
  }
  if (sys::fallocate(file, mode, static_cast<off_t>(begin), static_cast<off_t>(size)) == 0) return {};
  if (errno == EOPNOTSUPP || errno == ENOSYS) return {};
  return fail_errno(errno, "reserve the room of a file");
}

}  // namespace

// --- room and bytes ----------------------------------------------------------------------------------------
/// On the disk: behind what was held, whose size is to tell what has arrived.
Result<void> Upload::State::take_room() {
  if (!request.size || *request.size - start <= not_worth_reserving) return {};
  const int mode = std::holds_alternative<HeldFile>(file) ? FALLOC_FL_KEEP_SIZE : 0;
  return reserve(fd(), mode, start, *request.size - start);
}

/// Would `more` bytes be more than was announced, or than may be?
Result<void> Upload::State::make_sure_of_room(std::size_t more) {
  if (request.size) {
    if (more <= *request.size - written) return {};
    return wrong_size(*request.size, written + more);
  }
  const std::uint64_t then = written + more;
  if (auto fine = check_size(request.path, then, store->options_.max_file); !fine) return fine;
  if (store->quota_->limit() == 0 || then - start <= reserved.bytes()) return {};
  const std::uint64_t needed = then - start - reserved.bytes();
  if (needed < quota_step && reserved.grow(quota_step)) return {};
  return reserved.grow(needed);
}

Result<void> Upload::write(std::span<const char> bytes) {
  State& state = *state_;
  if (auto room = state.make_sure_of_room(bytes.size()); !room) return room;
  if (state.passing) state.passing->update(bytes);
  auto appended = append(state.fd(), bytes, state.request.path, state.written);
  if (!appended) return state.failed(std::move(appended.error()), bytes.size());
  return {};
}

Result<std::size_t> Upload::write_from_pipe(int pipe, std::size_t size) {
  State& state = *state_;
  if (auto room = state.make_sure_of_room(size); !room) return std::unexpected(std::move(room.error()));
  auto moved = state.passing ? state.read_from(pipe, size) : state.splice_from(pipe, size);
  if (!moved) return state.failed(std::move(moved.error()), size);
  return moved;
}

Result<std::size_t> Upload::State::splice_from(int pipe, std::size_t size) {
  std::size_t moved = 0;
  while (moved < size) {
    const ssize_t count =
        sys::splice(pipe, nullptr, fd(), nullptr, size - moved, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count == 0 || (count < 0 && errno == EAGAIN)) break;  // the pipe is empty
    if (count < 0) return fail_errno(errno, fmt::format("write \"{}\"", request.path.text()));
    moved += static_cast<std::size_t>(count);
    written += static_cast<std::uint64_t>(count);
  }
  return moved;
}

/// Through memory, where the bytes are hashed while they are warm.
Result<std::size_t> Upload::State::read_from(int pipe, std::size_t size) {
  const std::span<char> buffer = buffer_of_thread();
  std::size_t moved = 0;
  while (moved < size) {
    int waiting = 0;  // asked first: the pipe may be one whose reader waits
    if (sys::ioctl(pipe, FIONREAD, &waiting) != 0) return fail_errno(errno, "ask what is in a pipe");
    if (waiting <= 0) break;
    const std::size_t want = std::min({size - moved, buffer.size(), static_cast<std::size_t>(waiting)});
    const ssize_t count = sys::read(pipe, buffer.data(), want);
    if (count <= 0) return fail_errno(count < 0 ? errno : EIO, "read from a pipe");
    const std::span<const char> bytes = buffer.first(static_cast<std::size_t>(count));
    passing->update(bytes);
    if (auto appended = append(fd(), bytes, request.path, written); !appended) {
      return std::unexpected(std::move(appended.error()));
    }
    moved += bytes.size();
  }
  return moved;
}

// --- digests --------------------------------------------------------------------------------------
void Upload::expect(DigestKind kind, std::string hex) { state_->request.expected.set(kind, std::move(hex)); }

DigestKinds Upload::State::missing_digests() const {
  const DigestKinds needed = digests_needed(request);
  DigestKinds missing;
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    const bool known = passing_kinds.has(kind) || (from_file.of(kind) && caught_up_to == written);
    if (needed.has(kind) && !known) missing.add(kind);
  }
  return missing;
}

Digests Upload::State::digests() const {
  Digests all = passing ? passing->digests() : Digests{};
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    if (!all.of(kind) && from_file.of(kind)) all.set(kind, *from_file.of(kind));
  }
  return all;
}

Result<bool> Upload::catch_up(std::size_t budget) { return state_->catch_up(budget); }

Result<bool> Upload::State::catch_up(std::size_t budget) {
  if (caught_up_to != written) {  // more has arrived: what was computed is of no use
    catching_up.reset();
    from_file = {};
    caught_up_to = written;
  }
  const DigestKinds missing = missing_digests();
  if (missing.empty()) return true;
  if (!catching_up) {
    // A descriptor of its own, which it may share: the file's may be closed before.
    auto again = std::make_shared<const UniqueFd>(sys::fcntl(fd(), F_DUPFD_CLOEXEC, 0));
    if (!*again) return fail_errno(errno, fmt::format("read \"{}\" again", request.path.text()));
    catching_up.emplace(std::move(again), missing, written);
    catching_kinds = missing;
  }
  const auto done = catching_up->step(budget);
  if (!done || !*done) return done;
  const Digests computed = catching_up->digests();
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    if (catching_kinds.has(kind)) from_file.set(kind, *computed.of(kind));
  }
  catching_up.reset();
  return missing_digests().empty();  // one may have been told meanwhile
}

Result<Digests> Upload::State::verified() {
  for (;;) {
    const auto done = catch_up(FileDigest::usual_step);
    if (!done) return std::unexpected(done.error());
    if (*done) break;
  }
  Digests computed = digests();
  if (auto same = compare_digests(request, computed); !same) return std::unexpected(std::move(same.error()));
  return computed;
}

}  // namespace ftpd
