// Tar streams made by hand, so that they can be wrong, and trees to compare.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "store/tree_download.h"
#include "store/tree_upload.h"
#include "unit/store_support.h"

namespace ftpd::test {

/// Directories may forbid their owner to look into them, or to remove what is there.
inline void open_directories(const std::string& top) {
  std::error_code error;
  for (auto entry = std::filesystem::recursive_directory_iterator(top, error);
       entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    // Before the iterator goes into it.
    if (entry->symlink_status(error).type() == std::filesystem::file_type::directory) {
      ::chmod(entry->path().c_str(), 0755);
    }
  }
}

/// A Place that such directories don't keep from being removed.
struct TreePlace : Place {
  using Place::Place;
  ~TreePlace() { open_directories(base); }
};

struct Member {
  std::string name;
  char type = '0';
  std::string content = "";
  unsigned mode = 0644;
  std::uint64_t mtime = 1000;
  std::string link = "";
  std::optional<std::uint64_t> size = std::nullopt;  // where the header is to lie
};

inline std::string padded(std::string content) {
  content.resize((content.size() + 511) / 512 * 512);
  return content;
}

/// One ustar header and the content behind it. A name that is too long is cut.
inline std::string member(const Member& member) {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, std::string_view text, std::size_t room) {
    header.replace(at, std::min(text.size(), room), text.substr(0, room));
  };
  put(0, member.name, 100);
  put(100, fmt::format("{:07o}", member.mode), 7);
  put(108, "0001750", 7);
  put(116, "0001750", 7);
  put(124, fmt::format("{:011o}", member.size.value_or(member.content.size())), 11);
  put(136, fmt::format("{:011o}", member.mtime), 11);
  put(148, "        ", 8);
  header[156] = member.type;
  put(157, member.link, 100);
  put(257, std::string_view("ustar\00000", 8), 8);
  put(265, "somebody", 32);
  unsigned sum = 0;
  for (const char byte : header) sum += static_cast<unsigned char>(byte);
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2), 8);
  return header + padded(member.content);
}

inline std::string file(std::string name, std::string content, unsigned mode = 0644) {
  return member({.name = std::move(name), .content = std::move(content), .mode = mode});
}
inline std::string directory(std::string name, unsigned mode = 0755) {
  return member({.name = std::move(name), .type = '5', .mode = mode});
}

/// A pax extended header; goes before the member that it speaks of.
inline std::string pax(const std::vector<std::pair<std::string, std::string>>& attributes, char type = 'x') {
  std::string body;
  for (const auto& [key, value] : attributes) {
    const std::string rest = " " + key + "=" + value + "\n";
    std::size_t size = rest.size();
    while (std::to_string(size).size() + rest.size() != size) {
      size = std::to_string(size).size() + rest.size();
    }
    body += std::to_string(size) + rest;
  }
  return member({.name = "pax", .type = type, .content = body});
}

inline const std::string& end_of_archive() {
  static const std::string zeros(1024, '\0');
  return zeros;
}

/// `stream` in pieces of `piece` bytes.
inline TarSource source_of(std::string_view stream, std::size_t piece = SIZE_MAX) {
  return [rest = stream, piece]() mutable -> Result<std::span<const char>> {
    const std::string_view next = rest.substr(0, piece);
    rest.remove_prefix(next.size());
    return std::span<const char>{next.data(), next.size()};
  };
}

inline TreeRequest tree_request(std::string_view name) {
  TreeRequest request;
  request.path = path(name);
  return request;
}

inline Result<TreeStored> put_tree(const std::shared_ptr<Store>& store, TreeRequest request,
                                   std::string_view stream, std::size_t piece = SIZE_MAX) {
  auto upload = TreeUpload::begin(store, std::move(request));
  if (!upload) return std::unexpected(std::move(upload.error()));
  if (auto done = upload->extract(source_of(stream, piece)); !done) {
    return std::unexpected(std::move(done.error()));
  }
  return upload->commit();
}

inline std::string get_tree(const Store& store, std::string_view name, TreeSent* counts = nullptr) {
  std::string stream;
  const auto sent = send_tree(store, path(name), [&](std::span<const char> bytes) -> Result<void> {
    stream.append(bytes.data(), bytes.size());
    return {};
  });
  REQUIRE_MESSAGE(sent.has_value(), sent.error().text);
  if (counts != nullptr) *counts = *sent;
  return stream;
}

/// What is below a directory: path -> mode, time and content; "<dir>" for a directory. `.ftpd` left out.
inline std::map<std::string, std::string> tree_of(const std::string& top) {
  std::map<std::string, std::string> found;
  std::error_code error;
  for (auto entry = std::filesystem::recursive_directory_iterator(top, error);
       entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().lexically_relative(top).native();
    if (name == ".ftpd") {
      entry.disable_recursion_pending();
      continue;
    }
    struct stat status{};
    REQUIRE(::lstat(entry->path().c_str(), &status) == 0);
    const std::string content = S_ISDIR(status.st_mode)   ? "<dir>"
                                : S_ISREG(status.st_mode) ? read_file(entry->path().native())
                                                          : "<special>";
    found[name] = fmt::format("{:o} {}.{:09} {}", status.st_mode & 07777, status.st_mtim.tv_sec,
                              status.st_mtim.tv_nsec, content);
  }
  return found;
}

/// The content alone.
inline std::map<std::string, std::string> contents_of(const std::string& top) {
  auto found = tree_of(top);
  for (auto& [name, value] : found) value = value.substr(value.find(' ', value.find(' ') + 1) + 1);
  return found;
}

/// Nothing of an upload is left: staging directories are empty, but for the store's own.
inline bool staging_is_clean(const Place& place) {
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place.at(".ftpd"), error)) {
    if (entry.path().parent_path().filename() != ".ftpd") return false;
  }
  return true;
}

}  // namespace ftpd::test
