// Reading the fields of a request that several operations share.
#include "server/fields.h"

#include <openssl/evp.h>

#include <cmath>

namespace ftpd {

Read<RelPath> path_field(const Header& header, std::string_view key, RootIs root) {
  const std::string base64_key = fmt::format("{}_base64", key);
  auto text = optional_field(header.string(key));
  if (!text) return std::unexpected(std::move(text.error()));
  auto encoded = optional_field(header.string(base64_key));
  if (!encoded) return std::unexpected(std::move(encoded.error()));
  if (text->has_value() && encoded->has_value()) {
    return std::unexpected(
        bad_request(fmt::format("{} and {}: only one of them may be given", key, base64_key)));
  }
  if (!*text && !*encoded) {
    return std::unexpected(bad_request(fmt::format("{}: missing; a path relative to the root", key)));
  }
  if (*encoded) {
    const auto bytes = from_base64(**encoded);
    if (!bytes)
      return std::unexpected(bad_request(fmt::format("{}: not base64 (RFC 4648, padded)", base64_key)));
    auto path = RelPath::parse_bytes(*bytes);
    if (!path) return std::unexpected(bad_request(fmt::format("{}: {}", base64_key, path.error().text)));
    return std::move(*path);
  }
  auto path = root == RootIs::allowed ? RelPath::parse_or_root(**text) : RelPath::parse(**text);
  if (!path) return std::unexpected(bad_request(fmt::format("{}: {}", key, path.error().text)));
  return std::move(*path);
}

Read<std::optional<DigestKind>> digest_field(const Header& header) {
  auto word = optional_field(header.string("digest"));
  if (!word) return std::unexpected(std::move(word.error()));
  if (!*word) return std::nullopt;
  const auto kind = digest_kind_from_name(**word);
  if (!kind) return std::unexpected(bad_request("digest: must be \"md5\" or \"sha256\""));
  return kind;
}

Read<Digests> told_digests(const Header& header) {
  Digests told;
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    auto text = optional_field(header.string(name(kind)));
    if (!text) return std::unexpected(std::move(text.error()));
    if (!*text) continue;
    auto hex = parse_digest(kind, **text);
    if (!hex) {
      return std::unexpected(bad_request(
          fmt::format("{}: must be {} hexadecimal digits", name(kind), kind == DigestKind::md5 ? 32 : 64)));
    }
    told.set(kind, std::move(*hex));
  }
  return told;
}

Read<bool> overwrite_field(const Header& header) {
  auto word = optional_field(header.string("overwrite"));
  if (!word) return std::unexpected(std::move(word.error()));
  if (*word && **word != "replace" && **word != "fail") {
    return std::unexpected(bad_request("overwrite: must be \"replace\" or \"fail\""));
  }
  return !*word || **word == "replace";
}

Read<bool> tar_format(const Header& header) {
  auto word = optional_field(header.string("format"));
  if (!word) return std::unexpected(std::move(word.error()));
  if (*word && **word != "tar") return std::unexpected(bad_request("format: must be \"tar\""));
  return word->has_value();
}

Read<std::optional<UploadKey>> upload_field(const Header& header, const Caller& caller) {
  auto text = optional_field(header.string("upload"));
  if (!text) return std::unexpected(std::move(text.error()));
  if (!*text) return std::nullopt;
  constexpr std::string_view allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  constexpr std::size_t longest = 64;
  const std::string_view own_name = **text;
  if (own_name.empty() || own_name.size() > longest ||
      own_name.find_first_not_of(allowed) != std::string_view::npos) {
    return std::unexpected(bad_request("upload: must be 1 to 64 of A-Z, a-z, 0-9, _ and -"));
  }
  return UploadKey{caller.role->name, std::string(own_name)};
}

Read<void> refuse_unbuilt(const Header& header, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    const auto asked = header.boolean(key);
    if (header.has(key) && !(asked && *asked == false)) {  // `"wait":false` asks for nothing
      return std::unexpected(Failure{.status = Status::unsupported,
                                     .message = fmt::format("{}: not built in this version", key)});
    }
  }
  return {};
}

double seconds_of(const timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

timespec timespec_of(double seconds) {
  // Rounded, or 1.9 would come back as 1.899999999.
  const double whole = std::floor(seconds);
  const long nanoseconds = std::lround((seconds - whole) * 1e9);
  constexpr long second = 1'000'000'000;
  const auto carry = static_cast<time_t>(nanoseconds == second);
  return {static_cast<time_t>(whole) + carry, nanoseconds % second};
}

void add_name(JsonObject& reply, const RelPath& path) {
  if (path.is_text()) {
    reply.add("filename", path.text());
  } else {
    reply.add("filename_base64", to_base64(path.text()));
  }
}

void add_digests(JsonObject& reply, const Digests& digests) {
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    if (const auto& hex = digests.of(kind)) reply.add(name(kind), *hex);
  }
}

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  // It counts the padding as bytes, and lets blanks pass.
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(size) - padding);
  if (to_base64(bytes) != text) return std::nullopt;
  return bytes;
}

}  // namespace ftpd
