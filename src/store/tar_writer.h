// A tar stream on its way out: libarchive's pax writer behind an interface of ours.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"

namespace ftpd {

/// Takes the stream's next bytes; may block. An Error ends the stream.
using TarSink = std::function<Result<void>(std::span<const char>)>;

struct TarHeader {
  enum class Type : std::uint8_t { file, directory };

  std::string name;  // any bytes
  Type type = Type::file;
  mode_t mode = 0;  // permission bits
  timespec mtime{};
  std::uint64_t size = 0;  // of a file
};

/// pax, with extended headers where a member needs them; no owners; no padding beyond the two blocks that
/// end an archive. After an Error it is only fit to be destroyed. Destroyed before finish(), it writes no
/// more. One thread.
class TarWriter {
 public:
  explicit TarWriter(const TarSink& sink);
  ~TarWriter();
  TarWriter(const TarWriter&) = delete;
  TarWriter& operator=(const TarWriter&) = delete;

  /// Begins a member. The one before is complete by then.
  [[nodiscard]] Result<void> begin(const TarHeader& header);
  /// The next bytes of a file's content: `size` of them in all.
  [[nodiscard]] Result<void> write(std::span<const char> bytes);
  /// The end of the archive.
  [[nodiscard]] Result<void> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ftpd
