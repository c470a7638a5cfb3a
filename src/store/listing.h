// Reading directories: the names in one, and the entries of a tree.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/store.h"

namespace ftpd {

/// The names in a directory, one at a time, without "." and "..". Borrows the descriptor, which has
/// not been read yet.
class DirectoryReader {
 public:
  explicit DirectoryReader(int directory) : directory_(directory), buffer_(new char[capacity]) {}

  /// Nothing at the end. The name ends in a NUL and is valid until the next call.
  [[nodiscard]] Result<std::optional<std::string_view>> next();

 private:
  static constexpr std::size_t capacity = 32 * 1024;

  int directory_;
  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

/// All of `status` that an Entry tells; the name stays empty.
[[nodiscard]] Entry entry_of(const struct stat& status);

/// Store::list and its bounds: entries, and bytes of their names (256 for each entry on average).
struct ListRequest {
  int root;
  const RelPath& path;
  std::size_t max_entries;
};
[[nodiscard]] Result<std::vector<Entry>> list_directory(const ListRequest& request);
[[nodiscard]] Result<std::vector<Entry>> list_tree(const ListRequest& request);

}  // namespace ftpd
