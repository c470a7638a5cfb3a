// A tar stream on its way in, member by member: libarchive's reader behind an interface of ours.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"

namespace ftpd {

/// Where a stream comes from: blocks until there is something; empty at the end. What it gives stays
/// valid until it is called again.
using TarSource = std::function<Result<std::span<const char>>()>;

struct TarMember {
  enum class Type : std::uint8_t { file, directory, link, special };

  std::string name;  // as the stream has it; any bytes but NUL, perhaps empty
  Type type = Type::special;
  mode_t mode = 0;  // permission bits
  timespec mtime{};
  std::uint64_t size = 0;  // as the header says; the blocks are what is true
  bool sparse = false;     // it may have holes
};

/// Bytes of a member's content. What lies between two blocks, and behind the last up to `size`, is a hole.
struct TarBlock {
  std::span<const char> bytes;  // valid until the reader is called again
  std::uint64_t offset = 0;
};

/// ustar, pax and GNU tar. Trusts nothing: a stream that is no tar, has a damaged header, is cut off, or
/// goes on with other bytes behind its end is Reason::invalid. An Error of the source is passed on. After
/// an Error it is only fit to be destroyed. One thread.
class TarReader {
 public:
  explicit TarReader(const TarSource& source);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  /// The next member; nothing at the archive's end, which was found as it has to be: the source is read to
  /// its own end by then. Skips what is left of the member before.
  [[nodiscard]] Result<std::optional<TarMember>> next();

  /// The next block of the present member; nothing at its end.
  [[nodiscard]] Result<std::optional<TarBlock>> next_block();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ftpd
