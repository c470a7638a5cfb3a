// What put and get of a directory have in common.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "server/fields.h"
#include "server/operation.h"

namespace ftpd {

/// `bad_request` where the request has one of `keys`, which speak of a single file.
[[nodiscard]] Read<void> refuse_file_fields(const Header& header,
                                            std::initializer_list<std::string_view> keys);

/// `busy`: each such request takes a thread.
[[nodiscard]] Failure too_many_trees();

}  // namespace ftpd
