#include "server/tree_fields.h"

namespace ftpd {

Read<void> refuse_file_fields(const Header& header, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    const auto asked = header.boolean(key);
    const bool asks_for_nothing = asked && *asked == false;  // `"follow":false`
    if (header.has(key) && !asks_for_nothing) {
      return std::unexpected(bad_request(fmt::format("{}: not with \"format\":\"tar\"", key)));
    }
  }
  return {};
}

Failure too_many_trees() {
  return {.status = Status::busy,
          .message = "as many directories as can be are on their way already",
          .retry_after_ms = 1000};
}

}  // namespace ftpd
