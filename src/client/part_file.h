// What has arrived of a `get --resume`: a file beside the one that it is to become.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "client/digest.h"
#include "client/target.h"

namespace ftpd::client {

/// ".NAME.ftpc-part"; a digest stands for a name that is too long for that.
[[nodiscard]] std::string part_name(std::string_view name);

/// Open and locked: two programs at once would spoil it. It stays when this object goes, unless it is
/// committed, discarded or empty.
class PartFile {
 public:
  /// For the file `local`. What is there is kept, and is part of the digest.
  [[nodiscard]] static Outcome<PartFile> open(const std::string& local);
  PartFile(PartFile&&) noexcept = default;
  PartFile& operator=(PartFile&&) = delete;
  ~PartFile();

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::string digest() const { return hash_.hex(); }
  [[nodiscard]] Outcome<void> append(std::string_view bytes);
  /// Nothing of what is there can be used.
  [[nodiscard]] Outcome<void> start_anew();
  [[nodiscard]] Outcome<void> commit(const Attributes& attributes);

 private:
  PartFile(Directory directory, std::string name)
      : directory_(std::move(directory)), name_(std::move(name)), part_(part_name(name_)) {}
  [[nodiscard]] Outcome<void> hash_what_is_there();

  Directory directory_;
  std::string name_;
  std::string part_;
  UniqueFd file_;  // none once it is committed
  Sha256 hash_;
  std::uint64_t size_ = 0;
};

}  // namespace ftpd::client
