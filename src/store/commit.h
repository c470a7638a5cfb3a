// The steps that every way of storing a file takes: checks, bytes, digests, seal, and the words for a full
// disk.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "store/destination.h"
#include "store/digest.h"
#include "store/staging.h"
#include "store/upload.h"

namespace ftpd {

[[nodiscard]] inline Taken taken_rule(const UploadRequest& request) {
  return request.replace ? Taken::replace : Taken::refuse;
}

/// What needs no look at the disk. `max_file` 0: no limit.
[[nodiscard]] Result<void> check_request(const UploadRequest& request, std::uint64_t max_file);

/// Reason::too_large over `max_file`.
[[nodiscard]] Result<void> check_size(const RelPath& path, std::uint64_t size, std::uint64_t max_file);

[[nodiscard]] std::unexpected<Error> wrong_size(std::uint64_t announced, std::uint64_t arrived);

/// A rename can't leave its file system, which is better said before the body is read.
[[nodiscard]] Result<void> check_file_system(int root, const Destination& destination, const RelPath& path);

/// Appends all. Counts in `written` what got through, on an Error too.
[[nodiscard]] Result<void> append(int file, std::span<const char> bytes, const RelPath& path,
                                  std::uint64_t& written);

/// Mode and time. After this and flush_file() the file is as it will be.
[[nodiscard]] Result<void> set_attributes(int file, const UploadRequest& request);
[[nodiscard]] Result<void> flush_file(int file, const RelPath& path);

/// The errno of a rename to `path`, if it is one.
[[nodiscard]] Result<void> renamed(int number, const RelPath& path);

/// What is to be computed for a request: wanted, or announced.
[[nodiscard]] DigestKinds digests_needed(const UploadRequest& request);
/// Reason::checksum where what was announced is not what was computed.
[[nodiscard]] Result<void> compare_digests(const UploadRequest& request, const Digests& computed);
/// Those of them that the caller wanted.
[[nodiscard]] Digests digests_wanted(const UploadRequest& request, const Digests& computed);
/// Keeps them with the file, which is sealed.
void keep_digests(int file, const Digests& computed);

/// Of a full disk: how many bytes are needed and how many are free. Other errors stay as they are.
[[nodiscard]] Error with_room(Error error, int root, std::uint64_t need);

}  // namespace ftpd
