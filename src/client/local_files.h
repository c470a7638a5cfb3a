// Which files `put` sends, and under which names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "client/options.h"
#include "client/report.h"

namespace ftpd::client {

/// The last component; empty for "", ".", "..", "/" and paths that end in these.
[[nodiscard]] std::string_view base_name(std::string_view path);

/// DIRECTORY/NAME; either may be empty.
[[nodiscard]] std::string joined(std::string_view directory, std::string_view name);

/// The name over there for an operand of `put`: `to` itself for one operand, in the directory `to` for
/// several or where it ends in '/'; without `to`, the operand's last component.
[[nodiscard]] std::string remote_name(const Options& options, std::string_view local);

struct LocalFile {
  std::string local;  // "-": standard input
  std::string remote;
  enum class From : std::uint8_t { operand, walk } from = From::operand;
};

/// Goes through the operands, and with -r through directories, by name. Symbolic links are followed
/// where they are operands, never below. What can't be read is reported, and the walk goes on.
class LocalFiles {
 public:
  LocalFiles(const Options& options, Report& report) : options_(options), report_(report) {}

  [[nodiscard]] std::optional<LocalFile> next();
  /// Will next() give a file?
  [[nodiscard]] bool more();

 private:
  struct Level {
    std::filesystem::path path;
    std::string remote;
    std::vector<std::filesystem::directory_entry> entries;  // the next one last
  };
  [[nodiscard]] std::optional<LocalFile> search();
  [[nodiscard]] std::optional<LocalFile> next_operand();
  [[nodiscard]] std::optional<LocalFile> next_below();
  void enter(const std::filesystem::path& path, std::string remote);

  const Options& options_;
  Report& report_;
  std::optional<LocalFile> ahead_;
  std::size_t at_ = 0;
  std::vector<Level> levels_;
};

/// An open file with what `put` says of it. A size that is not known: a pipe, a device, standard input.
struct OpenFile {
  UniqueFd fd;
  std::optional<std::uint64_t> size;
  unsigned mode = 0644;
  std::optional<double> mtime;
};
[[nodiscard]] Outcome<OpenFile> open_local(const LocalFile& file);

/// The sum of all sizes, for progress. Says nothing of what can't be read.
[[nodiscard]] std::uint64_t total_size(const Options& options);

}  // namespace ftpd::client
