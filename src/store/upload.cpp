// An upload's life: checked, staged, reserved, written, sealed, published.
#include "store/upload.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cassert>
#include <cerrno>

#include "base/sys.h"
#include "store/destination.h"
#include "store/resolve.h"
#include "store/staging.h"
#include "store/store.h"

namespace ftpd {
namespace {

/// Up to here a reservation costs more than it tells: write(2) reports a full disk soon enough.
constexpr std::uint64_t not_worth_reserving = 64 * 1024;

/// How often a commit begins again when a directory that it needs is removed under it.
constexpr int commit_attempts = 3;

Taken taken_rule(const UploadRequest& request) { return request.replace ? Taken::replace : Taken::refuse; }

Result<void> check_request(const UploadRequest& request) {
  if (request.path.is_root()) return fail_path(EISDIR, request.path.text());
  if ((request.mode & ~mode_t{0777}) != 0) {
    return fail(Reason::invalid,
                fmt::format("mode {:o} has more than permission bits; 0 to 0777 are allowed", request.mode));
  }
  return {};
}

/// A rename can't leave its file system, which is better said before the body is read.
Result<void> check_file_system(int root, const Destination& destination, const RelPath& path) {
  if (destination.fd() == root) return {};
  struct stat root_status{};
  struct stat status{};
  if (sys::fstat(root, root_status) != 0 || sys::fstat(destination.fd(), status) != 0) {
    return fail_path(errno, path.text());
  }
  if (root_status.st_dev != status.st_dev) {
    return fail(
        Reason::unsupported,
        fmt::format("\"{}\" is on another file system than its root; files can't be put there", path.text()));
  }
  return {};
}

Result<void> check_at_start(int root, const UploadRequest& request) {
  const auto destination = Destination::open(root, request.path, Flush::no);
  if (!destination) {
    if (request.parents && destination.error().number == ENOENT) return {};
    return std::unexpected(destination.error());
  }
  if (auto same = check_file_system(root, *destination, request.path); !same) return same;
  return destination->check(request.path, taken_rule(request));
}

Result<void> reserve(int file, std::uint64_t size, const Store& store) {
  if (size > static_cast<std::uint64_t>(INT64_MAX)) return fail(Reason::too_large, "file too large");
  if (sys::fallocate(file, 0, 0, static_cast<off_t>(size)) == 0) return {};
  const int number = errno;
  if (number == EOPNOTSUPP || number == ENOSYS) return {};
  if (number == ENOSPC) {
    const auto free = store.free_space();
    return fail_errno(number, fmt::format("{} bytes are needed, {} are free", size, free ? *free : 0));
  }
  return fail_errno(number, fmt::format("reserve {} bytes", size));
}

/// Counts in `written` what got through, on an Error too.
Result<void> append(int file, std::span<const char> bytes, const RelPath& path, std::uint64_t& written) {
  while (!bytes.empty()) {
    const ssize_t count = sys::write(file, bytes.data(), bytes.size());
    if (count <= 0) return fail_errno(count < 0 ? errno : EIO, fmt::format("write \"{}\"", path.text()));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    written += static_cast<std::uint64_t>(count);
  }
  return {};
}

/// Mode, time, flush: after this the file is as it will be.
Result<void> seal(int file, const UploadRequest& request, Flush flush) {
  if (sys::fchmod(file, request.mode) != 0) {
    return fail_errno(errno, fmt::format("set the mode of \"{}\"", request.path.text()));
  }
  if (request.mtime) {
    const timespec times[2] = {{0, UTIME_OMIT}, *request.mtime};
    if (sys::futimens(file, times) != 0) {
      return fail_errno(errno, fmt::format("set the time of \"{}\"", request.path.text()));
    }
  }
  if (flush == Flush::yes && sys::fsync(file) != 0) {
    return fail_errno(errno, fmt::format("flush \"{}\"", request.path.text()));
  }
  return {};
}

/// Between here and the return of 0, the old file becomes the new one.
Result<void> publish(StagedFile& staged, const Destination& destination, const UploadRequest& request) {
  const RelPath& path = request.path;
  const int number = staged.publish(destination.fd(), path.name().data(), taken_rule(request));
  if (number == 0) return {};
  if (number == EXDEV) {
    return fail(
        Reason::unsupported,
        fmt::format("\"{}\" is on another file system than its root; files can't be put there", path.text()));
  }
  return fail_path(number, path.text());
}

Result<void> wrong_size(std::uint64_t announced, std::uint64_t arrived) {
  return fail(Reason::invalid, fmt::format("{} bytes were announced, {} arrived", announced, arrived));
}

}  // namespace

struct Upload::State {
  std::shared_ptr<const Store> store;  // the root and its staging stay while this lives
  UploadRequest request;
  StagedFile staged;
  Flush flush;
  std::uint64_t written = 0;
  bool published = false;

  /// Would `more` bytes be more than was announced?
  [[nodiscard]] Result<void> make_sure_of_room(std::size_t more) const {
    if (!request.size || more <= *request.size - written) return {};
    return wrong_size(*request.size, written + more);
  }

  [[nodiscard]] Result<void> appear(int root) {
    for (int attempt = 1;; ++attempt) {
      auto destination = request.parents ? Destination::open_or_make(root, request.path, flush)
                                         : Destination::open(root, request.path, flush);
      if (!destination) return std::unexpected(std::move(destination.error()));
      auto appeared = destination->check(request.path, taken_rule(request));
      if (appeared) appeared = publish(staged, *destination, request);
      if (appeared) {
        published = true;
        return flush == Flush::yes ? destination->flush() : Result<void>{};
      }
      destination->remove_made();
      // Another upload that failed may have removed the directory that it made and both used.
      const bool vanished = request.parents && appeared.error().number == ENOENT;
      if (!vanished || attempt == commit_attempts) return appeared;
    }
  }
};

Upload::Upload(std::unique_ptr<State> state) : state_(std::move(state)) {}
Upload::Upload(Upload&&) noexcept = default;
Upload& Upload::operator=(Upload&&) noexcept = default;
Upload::~Upload() = default;

std::uint64_t Upload::written() const { return state_->written; }

Result<void> Upload::write(std::span<const char> bytes) {
  if (auto room = state_->make_sure_of_room(bytes.size()); !room) return room;
  return append(state_->staged.fd(), bytes, state_->request.path, state_->written);
}

Result<std::size_t> Upload::write_from_pipe(int pipe, std::size_t size) {
  if (auto room = state_->make_sure_of_room(size); !room) return std::unexpected(std::move(room.error()));
  std::size_t moved = 0;
  while (moved < size) {
    const ssize_t count = sys::splice(pipe, nullptr, state_->staged.fd(), nullptr, size - moved,
                                      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count == 0 || (count < 0 && errno == EAGAIN)) break;  // the pipe is empty
    if (count < 0) return fail_errno(errno, fmt::format("write \"{}\"", state_->request.path.text()));
    moved += static_cast<std::size_t>(count);
    state_->written += static_cast<std::uint64_t>(count);
  }
  return moved;
}

Result<void> Upload::commit() {
  State& state = *state_;
  assert(!state.published);
  if (state.request.size && *state.request.size != state.written) {
    return wrong_size(*state.request.size, state.written);
  }
  if (auto sealed = seal(state.staged.fd(), state.request, state.flush); !sealed) return sealed;
  return state.appear(state.store->root_.get());
}

// --- the store's side -----------------------------------------------------------------------------
Result<void> Store::check_upload(const UploadRequest& request) const {
  if (auto fine = check_request(request); !fine) return fine;
  return check_at_start(root_.get(), request);
}

Result<Upload> Store::begin_upload(UploadRequest request) {
  if (auto fine = check_request(request); !fine) return std::unexpected(std::move(fine.error()));
  if (auto fine = check_at_start(root_.get(), request); !fine)
    return std::unexpected(std::move(fine.error()));
  auto staged = staging_->make_file();
  if (!staged) return std::unexpected(std::move(staged.error()));
  if (request.size && *request.size > not_worth_reserving) {
    auto reserved = reserve(staged->fd(), *request.size, *this);
    if (!reserved) return std::unexpected(std::move(reserved.error()));
  }
  const Flush flush = options_.durable ? Flush::yes : Flush::no;
  return Upload(std::make_unique<Upload::State>(
      Upload::State{shared_from_this(), std::move(request), std::move(*staged), flush}));
}

Result<void> Store::put_small(UploadRequest request, std::span<const char> bytes) {
  if (auto fine = check_request(request); !fine) return fine;
  if (request.size && *request.size != bytes.size()) return wrong_size(*request.size, bytes.size());
  const Flush flush = options_.durable ? Flush::yes : Flush::no;
  const auto destination = Destination::open(root_.get(), request.path, flush);
  if (!destination) {
    if (request.parents && destination.error().number == ENOENT) {
      return put_with_parents(std::move(request), bytes);
    }
    return std::unexpected(destination.error());
  }
  // From the check to the rename nothing waits for a peer, so once is enough.
  if (auto fine = destination->check(request.path, taken_rule(request)); !fine) return fine;
  auto staged = staging_->make_file();
  if (!staged) return std::unexpected(std::move(staged.error()));
  std::uint64_t written = 0;
  if (auto done = append(staged->fd(), bytes, request.path, written); !done) return done;
  if (auto sealed = seal(staged->fd(), request, flush); !sealed) return sealed;
  if (auto published = publish(*staged, *destination, request); !published) return published;
  return flush == Flush::yes ? destination->flush() : Result<void>{};
}

Result<void> Store::put_with_parents(UploadRequest request, std::span<const char> bytes) {
  auto upload = begin_upload(std::move(request));
  if (!upload) return std::unexpected(std::move(upload.error()));
  if (auto written = upload->write(bytes); !written) return written;
  return upload->commit();
}

}  // namespace ftpd
