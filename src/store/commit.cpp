#include "store/commit.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/sys.h"
#include "store/resolve.h"

namespace ftpd {
namespace {

constexpr DigestKind all_kinds[] = {DigestKind::md5, DigestKind::sha256};

std::unexpected<Error> other_file_system(const RelPath& path) {
  return fail(
      Reason::unsupported,
      fmt::format("\"{}\" is on another file system than its root; files can't be put there", path.text()));
}

}  // namespace

Result<void> check_request(const UploadRequest& request, std::uint64_t max_file) {
  if (request.path.is_root()) return fail_path(EISDIR, request.path.text());
  if ((request.mode & ~mode_t{0777}) != 0) {
    return fail(Reason::invalid,
                fmt::format("mode {:o} has more than permission bits; 0 to 0777 are allowed", request.mode));
  }
  if (!request.size) return {};
  return check_size(request.path, *request.size, max_file);
}

Result<void> check_size(const RelPath& path, std::uint64_t size, std::uint64_t max_file) {
  if (max_file != 0 && size > max_file) {
    return fail(Reason::too_large,
                fmt::format("\"{}\" would have {} bytes or more; at most {} are allowed in one file",
                            path.text(), size, max_file));
  }
  return {};
}

std::unexpected<Error> wrong_size(std::uint64_t announced, std::uint64_t arrived) {
  return fail(Reason::invalid, fmt::format("{} bytes were announced, {} arrived", announced, arrived));
}

Result<void> check_file_system(int root, const Destination& destination, const RelPath& path) {
  if (destination.fd() == root) return {};
  struct stat root_status{};
  struct stat status{};
  if (sys::fstat(root, root_status) != 0 || sys::fstat(destination.fd(), status) != 0) {
    return fail_path(errno, path.text());
  }
  if (root_status.st_dev != status.st_dev) return other_file_system(path);
  return {};
}

Result<void> append(int file, std::span<const char> bytes, const RelPath& path, std::uint64_t& written) {
  while (!bytes.empty()) {
    const ssize_t count = sys::write(file, bytes.data(), bytes.size());
    if (count <= 0) return fail_errno(count < 0 ? errno : EIO, fmt::format("write \"{}\"", path.text()));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    written += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> set_attributes(int file, const UploadRequest& request) {
  if (sys::fchmod(file, request.mode) != 0) {
    return fail_errno(errno, fmt::format("set the mode of \"{}\"", request.path.text()));
  }
  if (request.mtime) {
    const timespec times[2] = {{0, UTIME_OMIT}, *request.mtime};
    if (sys::futimens(file, times) != 0) {
      return fail_errno(errno, fmt::format("set the time of \"{}\"", request.path.text()));
    }
  }
  return {};
}

Result<void> flush_file(int file, const RelPath& path) {
  if (sys::fsync(file) != 0) return fail_errno(errno, fmt::format("flush \"{}\"", path.text()));
  return {};
}

Result<void> renamed(int number, const RelPath& path) {
  if (number == 0) return {};
  if (number == EXDEV) return other_file_system(path);
  return fail_path(number, path.text());
}

// --- digests --------------------------------------------------------------------------------------
DigestKinds digests_needed(const UploadRequest& request) {
  DigestKinds kinds = request.compute;
  for (const DigestKind kind : all_kinds) {
    if (request.expected.of(kind)) kinds.add(kind);
  }
  return kinds;
}

Result<void> compare_digests(const UploadRequest& request, const Digests& computed) {
  for (const DigestKind kind : all_kinds) {
    const auto& expected = request.expected.of(kind);
    if (!expected) continue;
    const auto& arrived = computed.of(kind);
    if (*expected == arrived) continue;
    return fail(Reason::checksum,
                fmt::format("{} of \"{}\": announced {}, but what arrived has {}; nothing is stored",
                            name(kind), request.path.text(), *expected, arrived.value_or("none")));
  }
  return {};
}

Digests digests_wanted(const UploadRequest& request, const Digests& computed) {
  Digests wanted;
  for (const DigestKind kind : all_kinds) {
    if (request.compute.has(kind) && computed.of(kind)) wanted.set(kind, *computed.of(kind));
  }
  return wanted;
}

void keep_digests(int file, const Digests& computed) {
  if (computed.empty()) return;
  struct stat status{};
  if (sys::fstat(file, status) != 0) return;
  for (const DigestKind kind : all_kinds) {
    if (computed.of(kind)) keep_digest(file, kind, *computed.of(kind), status);
  }
}

// --- a full disk ----------------------------------------------------------------------------------
Error with_room(Error error, int root, std::uint64_t need) {
  const bool full = error.reason == Reason::no_space || error.reason == Reason::quota;
  if (!full || error.need) return error;
  error.need = std::max<std::uint64_t>(need, 1);
  struct statfs status{};
  if (sys::fstatfs(root, status) != 0) return error;
  const auto unit = static_cast<std::uint64_t>(status.f_frsize > 0 ? status.f_frsize : status.f_bsize);
  error.free = static_cast<std::uint64_t>(status.f_bavail) * unit;
  error.text += fmt::format("; {} bytes are needed, {} are free", *error.need, *error.free);
  return error;
}

}  // namespace ftpd
