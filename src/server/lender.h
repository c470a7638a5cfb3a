// Things that a loop lends to its connections: input buffers and the pipes that splice goes through.
#pragma once

#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace ftpd {

/// Buffers of one capacity. What comes back is kept for the next borrower, up to a few.
class BufferLender {
 public:
  explicit BufferLender(std::size_t capacity) : capacity_(capacity) {}
  [[nodiscard]] std::unique_ptr<Buffer> borrow();
  void give_back(std::unique_ptr<Buffer> buffer);

 private:
  static constexpr std::size_t kept = 64;
  std::size_t capacity_;
  std::vector<std::unique_ptr<Buffer>> spare_;
};

/// A pipe between a socket and a file. `held` bytes are in it.
struct SplicePipe {
  UniqueFd read_end;
  UniqueFd write_end;
  std::size_t capacity = 0;
  std::size_t held = 0;
};

/// Pipes of up to 1 MiB. Only an empty one may be given back.
class PipeLender {
 public:
  [[nodiscard]] Result<std::unique_ptr<SplicePipe>> borrow();
  void give_back(std::unique_ptr<SplicePipe> pipe);

 private:
  static constexpr std::size_t kept = 16;
  std::vector<std::unique_ptr<SplicePipe>> spare_;
};

}  // namespace ftpd
