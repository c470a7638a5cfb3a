// A directory of ours with all that is below it, as `put -r` goes through it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "client/outcome.h"
#include "client/report.h"

namespace ftpd::client {

struct TreeEntry {
  enum class Kind : std::uint8_t { file, directory } kind = Kind::file;
  std::string name;  // from the top, '/' between components
  std::string path;  // for messages
  UniqueFd fd;       // of a file: open for reading
  struct stat about{};
};

/// Gives directories before what is in them, and names in the order of their bytes. Below the top no
/// symbolic link is followed, and nothing that is neither file nor directory is opened. What can't be
/// read is reported, what is left out is noted, and the walk goes on.
class LocalTree {
 public:
  /// `path` may be a symbolic link to a directory: the user named it.
  [[nodiscard]] static Outcome<LocalTree> open(const std::string& path, Report& report);

  /// Nothing at the end.
  [[nodiscard]] std::optional<TreeEntry> next();

 private:
  struct Name {
    std::string text;
    unsigned char type;  // DT_REG and its like
  };
  struct Level {
    UniqueFd fd;
    std::string name;         // as TreeEntry::name; empty at the top
    std::vector<Name> names;  // the next one last
  };
  LocalTree(std::string top, Report& report) : top_(std::move(top)), report_(&report) {}
  [[nodiscard]] bool enter(UniqueFd fd, std::string name);
  [[nodiscard]] std::optional<TreeEntry> take(const Level& level, Name name);
  [[nodiscard]] std::optional<TreeEntry> take_file(const Level& level, TreeEntry entry, const char* name);
  [[nodiscard]] std::optional<TreeEntry> take_directory(const Level& level, TreeEntry entry,
                                                        const char* name);
  [[nodiscard]] std::string path_of(const std::string& name) const;
  void failed(const std::string& path, int number);

  std::string top_;
  Report* report_;
  std::vector<Level> levels_;
};

}  // namespace ftpd::client
