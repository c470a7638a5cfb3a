// Uploads that can be resumed: root/.ftpd/held-KEY/FILENAME, both names hashed.
//
// The file itself says how much is held: a process that is killed leaves exactly what it has written. The
// directory is locked (flock(2)) while an upload has it, in this process or another; the name in it tells
// another `filename` for the same key apart.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "store/staging.h"
#include "store/upload.h"

namespace ftpd {

inline constexpr std::string_view held_prefix = "held-";

/// The one file of a key, locked. Destroyed unpublished it stays, if it has any bytes.
class HeldFile {
 public:
  struct Wanted {
    const UploadKey& key;
    const RelPath& path;
    std::optional<std::uint64_t> offset;  // none: what is held is thrown away
  };
  /// Reason::busy while another upload has it, Reason::offset where another amount is held,
  /// Reason::invalid where it is held for another filename.
  [[nodiscard]] static Result<HeldFile> take(int root, const Wanted& wanted);

  HeldFile(HeldFile&&) noexcept = default;
  HeldFile& operator=(HeldFile&&) = delete;
  ~HeldFile();

  [[nodiscard]] int fd() const { return file_.get(); }
  /// Bytes that were held when it was taken and still are.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Bytes that were thrown away when it was taken.
  [[nodiscard]] std::uint64_t thrown_away() const { return thrown_away_; }

  /// See move_file.
  [[nodiscard]] int publish(int directory, const char* name, Taken taken);

  /// It is not needed any more: nothing of it stays.
  void drop();

  /// Makes it what it has to be to be resumed. The bytes that stay; an empty one does not.
  std::uint64_t keep();

  /// Lets go of it: from here on it may be in another upload's hands. Whoever keeps books of it has closed
  /// them before.
  void unlock();

 private:
  HeldFile(UniqueFd home, UniqueFd directory, std::string directory_name)
      : home_(std::move(home)),
        directory_(std::move(directory)),
        directory_name_(std::move(directory_name)) {}
  [[nodiscard]] static Result<std::optional<HeldFile>> lock(int root, const Wanted& wanted);
  [[nodiscard]] Result<void> open_file(const Wanted& wanted);
  [[nodiscard]] Result<void> refuse_others(const Wanted& wanted) const;
  [[nodiscard]] Result<void> resume(const Wanted& wanted);
  [[nodiscard]] Result<void> begin_anew();

  UniqueFd home_;
  UniqueFd directory_;  // empty: nothing is left to do
  std::string directory_name_;
  std::string name_;
  UniqueFd file_;
  std::uint64_t size_ = 0;
  std::uint64_t thrown_away_ = 0;
};

struct HeldBytes {
  UniqueFd file;  // for reading
  std::uint64_t size = 0;
};
/// Reason::not_found for nothing. Needs no lock: the file only grows.
[[nodiscard]] Result<HeldBytes> find_held(int root, const UploadKey& key);

/// Removes what is held, in nobody's hands and older than `age` (0: however old it is, it stays), and what
/// no upload can use. The bytes that are gone.
std::uint64_t drop_expired_held(int root, Duration age, std::chrono::system_clock::time_point now);

}  // namespace ftpd
