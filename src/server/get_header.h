// The first header of a reply to get.
#pragma once

#include <string>

#include "ftpd/message.h"
#include "store/digest.h"
#include "store/store.h"

namespace ftpd {

struct GetHeader {
  const RequestId& id;
  const RelPath& path;
  const OpenFile& file;
  std::uint64_t size = 0;  // of the body that follows
  Digests digests;         // of the whole file, where known
  enum class Last : std::uint8_t { no, yes } last = Last::yes;
};

/// A whole frame but for its body. Obeys max_header: where a long name does not fit, the old spellings
/// are left out, then the name.
[[nodiscard]] std::string get_header(const GetHeader& header, std::size_t max_header);

}  // namespace ftpd
