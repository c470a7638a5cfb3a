// Which files `put` sends, and under which names.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "client/options.h"
#include "client/outcome.h"

namespace ftpd::client {

/// The last component; empty for "", ".", "..", "/" and paths that end in these.
[[nodiscard]] std::string_view base_name(std::string_view path);

/// DIRECTORY/NAME; either may be empty.
[[nodiscard]] std::string joined(std::string_view directory, std::string_view name);

/// The name over there for an operand of `put`: `to` itself for one operand, in the directory `to` for
/// several or where it ends in '/'; without `to`, the operand's last component.
[[nodiscard]] std::string remote_name(const Options& options, std::string_view local);

/// An operand of `put`.
struct LocalFile {
  std::string local;   // "-": standard input
  std::string remote;  // empty for what has no last component
  Parents parents = Parents::expected;
};

/// Open, with what `put` says of it. `size` is absent where it is not known: a pipe, a device, standard
/// input.
struct OpenFile {
  UniqueFd fd;
  std::optional<std::uint64_t> size;
  unsigned mode = 0644;
  std::optional<double> mtime;
  struct stat about{};
};
/// A symbolic link is followed: the user named it. A directory is refused.
[[nodiscard]] Outcome<OpenFile> open_local(const std::string& local);

[[nodiscard]] bool is_local_directory(const std::string& local);

/// The sum of all sizes, for progress. Says nothing of what can't be read.
[[nodiscard]] std::uint64_t total_size(const Options& options);

}  // namespace ftpd::client
