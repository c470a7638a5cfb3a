// What a put asks for. See ftpd-protocol(7), "put".
#include "server/put_request.h"

#include <cmath>

#include "ftpd/limits.h"

namespace ftpd {
namespace {

Read<void> read_attributes(const Header& header, UploadRequest& upload) {
  auto mode = optional_field(header.integer("mode", 0, 0777));
  if (!mode) return std::unexpected(std::move(mode.error()));
  if (*mode) upload.mode = static_cast<mode_t>(**mode);

  auto mtime = optional_field(header.number("mtime"));
  if (!mtime) return std::unexpected(std::move(mtime.error()));
  if (*mtime) {
    constexpr double most = 1e11;  // the year 5138; file systems differ, and none goes far beyond
    if (!(std::abs(**mtime) <= most)) {
      return std::unexpected(
          bad_request("mtime: out of range; seconds since 1970, at most 100000000000 either way"));
    }
    upload.mtime = timespec_of(**mtime);
  }

  auto replace = overwrite_field(header);
  if (!replace) return std::unexpected(std::move(replace.error()));
  upload.replace = *replace;

  auto parents = optional_field(header.boolean("parents"));
  if (!parents) return std::unexpected(std::move(parents.error()));
  upload.parents = parents->value_or(false);
  return {};
}

Read<void> read_digests(const Header& header, PutRequest& put) {
  auto told = told_digests(header);
  if (!told) return std::unexpected(std::move(told.error()));
  auto asked = digest_field(header);
  if (!asked) return std::unexpected(std::move(asked.error()));
  put.digest = *asked;
  if (put.digest) put.upload.compute.add(*put.digest);
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    if (told->of(kind)) put.upload.compute.add(kind);
  }
  put.upload.expected = std::move(*told);
  return {};
}

/// Where it goes on, and how large the whole file will be.
Read<void> read_extent(const Request& request, const Caller& caller, UploadRequest& upload) {
  const Header& header = request.header;
  auto key = upload_field(header, caller);
  if (!key) return std::unexpected(std::move(key.error()));
  upload.held = std::move(*key);
  auto offset = optional_field(header.size("offset"));
  if (!offset) return std::unexpected(std::move(offset.error()));
  upload.offset = *offset;
  if (upload.offset && !upload.held) {
    return std::unexpected(bad_request("offset: only with upload, which names what it goes on with"));
  }
  auto total = optional_field(header.size("filesize"));
  if (!total) return std::unexpected(std::move(total.error()));
  if (request.frame.more) {
    upload.size = *total;
    return {};
  }
  const std::uint64_t end = upload.offset.value_or(0) + request.frame.body_size;
  if (end > limits::max_size) {
    return std::unexpected(bad_request(
        fmt::format("offset: offset and data_size together are {}, at most {}", end, limits::max_size)));
  }
  if (upload.offset && *total && **total != end) {
    return std::unexpected(bad_request(fmt::format(
        "filesize: {}, but offset and data_size together are {}; nothing is stored", **total, end)));
  }
  upload.size = end;
  return {};
}

}  // namespace

Read<PutRequest> read_put(const Request& request, const Caller& caller) {
  const Header& header = request.header;
  PutRequest put;
  auto path = path_field(header, "filename", RootIs::refused);
  if (!path) return std::unexpected(std::move(path.error()));
  put.upload.path = std::move(*path);
  if (auto fine = read_attributes(header, put.upload); !fine) return std::unexpected(std::move(fine.error()));
  if (auto fine = read_digests(header, put); !fine) return std::unexpected(std::move(fine.error()));
  if (auto fine = read_extent(request, caller, put.upload); !fine)
    return std::unexpected(std::move(fine.error()));
  auto wait = optional_field(header.boolean("wait"));
  if (!wait) return std::unexpected(std::move(wait.error()));
  put.wait = wait->value_or(false);
  return put;
}

}  // namespace ftpd
