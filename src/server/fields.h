// Reading the fields of a request that several operations share.
#pragma once

#include <fmt/format.h>

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "ftpd/limits.h"
#include "ftpd/message.h"
#include "server/operation.h"
#include "server/reply.h"
#include "store/digest.h"
#include "store/rel_path.h"
#include "store/upload.h"

namespace ftpd {

template <class T>
using Read = std::expected<T, Failure>;

/// The field, or nothing; a wrong type is `bad_request`.
template <class T>
[[nodiscard]] Read<std::optional<T>> optional_field(Field<T> field) {
  if (!field) return std::unexpected(bad_request(std::move(field.error().text)));
  return std::move(*field);
}

enum class RootIs : std::uint8_t { refused, allowed };

/// `key`, or `key` + "_base64" for a name that JSON can't carry, checked.
[[nodiscard]] Read<RelPath> path_field(const Header& header, std::string_view key, RootIs root);

/// `digest`: the kind that is asked for, or nothing.
[[nodiscard]] Read<std::optional<DigestKind>> digest_field(const Header& header);

/// `md5` and `sha256`: the digests that the client tells.
[[nodiscard]] Read<Digests> told_digests(const Header& header);

/// `overwrite`: may a file that is there be replaced? Yes, where it is absent.
[[nodiscard]] Read<bool> overwrite_field(const Header& header);

/// `upload`: what the client calls an upload that can be resumed, with the caller as its owner.
[[nodiscard]] Read<std::optional<UploadKey>> upload_field(const Header& header, const Caller& caller);

/// `format`: is the body a tar stream? The only format that there is beside the file itself.
[[nodiscard]] Read<bool> tar_format(const Header& header);

/// `unsupported` where the request asks for one of `keys`, which this version does not do: a client
/// must not believe that it was done.
[[nodiscard]] Read<void> refuse_unbuilt(const Header& header, std::initializer_list<std::string_view> keys);

/// Seconds since the epoch, as a JSON number on the wire.
[[nodiscard]] double seconds_of(const timespec& time);
[[nodiscard]] timespec timespec_of(double seconds);

/// `filename`, or `filename_base64` where the name is not text.
void add_name(JsonObject& reply, const RelPath& path);

/// Adds `md5` and `sha256` where they are known.
void add_digests(JsonObject& reply, const Digests& digests);

/// A whole frame but for its body, with the name, unless that would break max_header.
struct NamedReply {
  const RequestId& id;
  const RelPath& path;
  std::size_t max_header;
};
template <class Complete>
[[nodiscard]] std::string reply_with_name(const NamedReply& named_by, Complete complete) {
  JsonObject named = begin_reply(named_by.id);
  add_name(named, named_by.path);
  std::string frame = complete(std::move(named));
  return frame.size() <= named_by.max_header + limits::length_size ? frame
                                                                   : complete(begin_reply(named_by.id));
}

/// Standard base64 (RFC 4648, section 4), for names that JSON can't carry.
[[nodiscard]] std::string to_base64(std::string_view bytes);
/// Nothing for what to_base64 would not have written.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

}  // namespace ftpd
