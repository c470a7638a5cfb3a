// A directory's listing, line by line as it arrives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "client/request.h"

namespace ftpd::client {

/// One line of a listing. The name is the server's word: check it before it becomes a local one.
struct ListedEntry {
  std::string name;  // bytes
  std::string type;  // "file", "directory", "symlink", "other"
  std::uint64_t size = 0;
  std::optional<std::uint64_t> mode;
  std::optional<double> mtime;
};

/// Nothing where the line is no entry.
[[nodiscard]] std::optional<ListedEntry> parse_entry(HeaderParser& parser, std::string_view line);

/// The request for a listing; "." is the root.
[[nodiscard]] std::string list_request(const std::string& path, Depth depth);

/// Splits the body into lines.
class ListTask : public RequestTask {
 public:
  using RequestTask::RequestTask;

 protected:
  [[nodiscard]] virtual Outcome<void> line(std::string_view json) = 0;
  HeaderParser& parser() { return parser_; }

 private:
  [[nodiscard]] Outcome<void> reply(const Header&) override { return {}; }
  [[nodiscard]] Outcome<void> piece(std::string_view bytes) final;
  [[nodiscard]] Outcome<void> complete() final;
  std::string partial_;
  HeaderParser parser_;
};

}  // namespace ftpd::client
