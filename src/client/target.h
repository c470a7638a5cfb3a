// Where the bytes of `get` go: a file that appears when it is complete, or a stream.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "client/outcome.h"

namespace ftpd::client {

/// A directory of ours, open; shared by the files on their way into it.
using Directory = std::shared_ptr<const UniqueFd>;
[[nodiscard]] Outcome<Directory> open_directory(const std::string& path);

class Target {
 public:
  virtual ~Target() = default;
  [[nodiscard]] virtual Outcome<void> write(std::string_view bytes) = 0;
  /// Everything has come. Without it, nothing stays behind.
  [[nodiscard]] virtual Outcome<void> commit(std::optional<std::uint64_t> mode,
                                             std::optional<double> mtime) = 0;
};

/// A regular file `name` in `directory`, replaced when complete. `name` is one component.
[[nodiscard]] Outcome<std::unique_ptr<Target>> make_file(Directory directory, std::string name);

/// A descriptor of ours that is written to as the bytes come: standard output, a pipe, a device.
[[nodiscard]] std::unique_ptr<Target> make_stream(UniqueFd fd, std::string what);

/// May a name that a server gave become a local one? Not empty, relative, no component that is empty,
/// ".", ".." or over 255 bytes, no NUL, at most 4,096 bytes.
[[nodiscard]] bool is_safe_name(std::string_view name);

/// A tree that `get -r` fills. Every name below it is checked, and opened without following symbolic
/// links, so that nothing lands outside.
class TargetTree {
 public:
  explicit TargetTree(Directory root) : root_(std::move(root)) {}
  [[nodiscard]] Outcome<std::unique_ptr<Target>> file(const std::string& name);
  [[nodiscard]] Outcome<void> directory(const std::string& name);

 private:
  [[nodiscard]] Outcome<Directory> enter(const std::string& name);
  Directory root_;
  std::string last_name_;
  Directory last_;
};

}  // namespace ftpd::client
