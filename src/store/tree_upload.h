// A directory on its way in as a tar stream: extracted aside, then it appears or is gone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "store/rel_path.h"
#include "store/tar_reader.h"

namespace ftpd {

class Store;

struct TreeRequest {
  RelPath path = RelPath::root();
  bool replace = true;   // false: Reason::exists where a file is in the way of one that comes
  bool parents = false;  // make missing directories on the way to `path`
  std::optional<std::uint64_t> stream_size;  // where it is known: Reason::no_space at the start
};

/// What a commit has made.
struct TreeStored {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;  // below the one that was named
  std::uint64_t bytes = 0;        // of the files
};

/// One tar stream (ustar, pax, GNU) into one directory. Its calls block; they are made on a thread that
/// may. Destroyed before commit() succeeded, it leaves nothing behind.
///
/// What comes is extracted below `.ftpd/`, made durable as a whole, then moved: where the target does not
/// exist, by one rename, so it appears whole or never; where it does, everything that could be in the way is
/// looked at first, then it is moved file by file, each whole (see TreeMerge).
/// Members: files and directories. Links, devices and FIFOs are Reason::denied; names obey RelPath's rules
/// ("./" in front and "/" at the end are dropped), so nothing escapes. Of two members with one name the later
/// one counts.
class TreeUpload {
 public:
  [[nodiscard]] static Result<TreeUpload> begin(std::shared_ptr<Store> store, TreeRequest request);
  TreeUpload(TreeUpload&&) noexcept;
  TreeUpload& operator=(TreeUpload&&) noexcept;
  ~TreeUpload();

  /// Everything up to the stream's end. Reason::invalid where the stream is no tar or is cut off.
  [[nodiscard]] Result<void> extract(const TarSource& source);

  /// Makes it appear. Call once, last. On an Error nothing has appeared, but where the target existed and
  /// changed under our hands, or where the flush failed.
  [[nodiscard]] Result<TreeStored> commit();

 private:
  struct State;
  explicit TreeUpload(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ftpd
