// Ownership of a file descriptor: `UniqueFd` owns and closes, a plain `int` borrows.
#pragma once

#include <utility>

namespace ftpd {

class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  /// Borrowed: valid until this object is reset, moved from or destroyed. -1 when empty.
  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

  /// The caller owns the result.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  /// Closes what is held (errno is kept) and owns `fd` from here on.
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace ftpd
