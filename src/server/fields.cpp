// Reading the fields of a request that several operations share.
#include "server/fields.h"

#include <openssl/evp.h>

#include <cmath>

namespace ftpd {

Read<RelPath> path_field(const Header& header, std::string_view key, RootIs root) {
  auto text = optional_field(header.string(key));
  if (!text) return std::unexpected(std::move(text.error()));
  if (!*text)
    return std::unexpected(bad_request(fmt::format("{}: missing; a path relative to the root", key)));
  auto path = root == RootIs::allowed ? RelPath::parse_or_root(**text) : RelPath::parse(**text);
  if (!path) return std::unexpected(bad_request(fmt::format("{}: {}", key, path.error().text)));
  return std::move(*path);
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
  const double whole = std::floor(seconds);
  return {static_cast<time_t>(whole), static_cast<long>((seconds - whole) * 1e9)};
}

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

}  // namespace ftpd
