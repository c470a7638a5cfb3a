// Where the bytes of `get` go: a file that appears when it is complete, or a stream.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "client/outcome.h"

namespace ftpd::client {

/// A directory of ours, open; shared by the files on their way into it.
using Directory = std::shared_ptr<const UniqueFd>;
[[nodiscard]] Outcome<Directory> open_directory(const std::string& path);

/// Seconds since 1970, as the protocol has them; what is no time becomes the nearest that is one.
[[nodiscard]] timespec to_timespec(double seconds);

/// What a file or directory has beside its content. What is absent is left to the system.
struct Attributes {
  std::optional<unsigned> mode;  // permission bits
  std::optional<timespec> mtime;
};

class Target {
 public:
  virtual ~Target() = default;
  [[nodiscard]] virtual Outcome<void> write(std::string_view bytes) = 0;
  /// Everything has come. Without it, nothing stays behind.
  [[nodiscard]] virtual Outcome<void> commit(const Attributes& attributes) = 0;
};

/// A regular file `name` in `directory`, replaced when complete. `name` is one component.
[[nodiscard]] Outcome<std::unique_ptr<Target>> make_file(Directory directory, std::string name);

/// A descriptor of ours that is written to as the bytes come: standard output, a pipe, a device.
[[nodiscard]] std::unique_ptr<Target> make_stream(UniqueFd fd, std::string what);

/// May a name that a server gave become a local one? Not empty, relative, no component that is empty,
/// ".", ".." or over 255 bytes, no NUL, at most 4,096 bytes.
[[nodiscard]] bool is_safe_name(std::string_view name);

/// Where the user has said: "-" is standard output; what is there and no file (a pipe, a device) is
/// written to; else a file.
[[nodiscard]] Outcome<std::unique_ptr<Target>> open_target(const std::string& local);

/// A tree that `get -r` fills. Every name below it is checked, and opened without following symbolic
/// links, so that nothing lands outside.
class TargetTree {
 public:
  /// `fresh`: the root has just been made and nobody else looks at it; files are written where they
  /// belong. In a `shared` one each file appears whole.
  enum class Ground : std::uint8_t { fresh, shared };
  TargetTree(Directory root, Ground ground) : root_(std::move(root)), ground_(ground) {}

  [[nodiscard]] Outcome<std::unique_ptr<Target>> file(const std::string& name);
  /// Made where it is missing; the empty name is the root. Its attributes are kept for finish().
  [[nodiscard]] Outcome<void> directory(const std::string& name, const Attributes& attributes);
  /// Nothing more will come: gives the directories their attributes.
  [[nodiscard]] Outcome<void> finish();

 private:
  struct Made {
    std::string name;
    Attributes attributes;
  };
  [[nodiscard]] Outcome<Directory> enter(const std::string& name);
  Directory root_;
  Ground ground_;
  std::string last_name_;
  Directory last_;
  std::vector<Made> directories_;
  std::size_t remembered_ = 0;  // bytes of directories_, about
};

/// A directory that appears under its name when it is complete. Until then it has another one beside it,
/// and is removed with this object.
class FreshDirectory {
 public:
  [[nodiscard]] static Outcome<FreshDirectory> make(const std::string& path);
  FreshDirectory(FreshDirectory&& other) noexcept = default;
  FreshDirectory& operator=(FreshDirectory&&) = delete;
  ~FreshDirectory();

  [[nodiscard]] const Directory& open() const { return open_; }
  /// Fails where something has come to be under the name.
  [[nodiscard]] Outcome<void> commit();

 private:
  FreshDirectory(Directory parent, std::string name) : parent_(std::move(parent)), name_(std::move(name)) {}
  Directory parent_;  // none once it is committed
  std::string name_;
  std::string temporary_;
  Directory open_;
};

}  // namespace ftpd::client
