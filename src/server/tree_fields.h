// What put and get of a directory have in common.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "ftpd/limits.h"
#include "server/fields.h"
#include "server/operation.h"

namespace ftpd {

/// `bad_request` where the request has one of `keys`, which speak of a single file.
[[nodiscard]] Read<void> refuse_file_fields(const Header& header,
                                            std::initializer_list<std::string_view> keys);

/// `busy`: each such request takes a thread.
[[nodiscard]] Failure too_many_trees();

/// A whole frame but for its body, with the name of the directory, unless that would break max_header.
struct TreeReply {
  const RequestId& id;
  const RelPath& path;
  std::size_t max_header;
};
template <class Complete>
[[nodiscard]] std::string reply_with_name(const TreeReply& tree, Complete complete) {
  JsonObject named = begin_reply(tree.id);
  add_name(named, tree.path);
  std::string frame = complete(std::move(named));
  return frame.size() <= tree.max_header + limits::length_size ? frame : complete(begin_reply(tree.id));
}

}  // namespace ftpd
