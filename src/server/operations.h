// The table of operations: one row each.
#pragma once

#include <span>
#include <string_view>

#include "server/operation.h"

namespace ftpd {

struct OperationRow {
  std::string_view name;
  /// What it needs; for `exec` that depends on how the command is given.
  Right (*right)(const Request&);
  Made (*make)(const Request&, Host&);
  /// An upload: it may run while earlier ones settle (see Operation::settles), its client may wait for
  /// the word before the body (`wait`), and old clients announce it by `filesize`.
  bool takes_file = false;
  /// Has an effect that outlives the connection: done even where a reset has cut off the reply.
  bool lasting = false;
};

/// The row of a command that this version knows but has not built is answered `unsupported`.
[[nodiscard]] bool known_but_not_built(std::string_view name);

[[nodiscard]] std::span<const OperationRow> operations();
[[nodiscard]] const OperationRow* find_operation(std::string_view name);

// The makers, each in its own op_*.cpp.
Made make_ping(const Request&, Host&);
Made make_hello(const Request&, Host&);
Made make_quit(const Request&, Host&);
Made make_stats(const Request&, Host&);
Made make_put(const Request&, Host&);
Made make_put_tree(const Request&, Host&);  // `"format":"tar"`
Made make_get(const Request&, Host&);
Made make_get_tree(const Request&, Host&);  // `"format":"tar"`
Made make_follow(const Request&, Host&);    // `"follow":true`
Made make_ls(const Request&, Host&);
Made make_stat(const Request&, Host&);
Made make_df(const Request&, Host&);
Made make_sum(const Request&, Host&);
Made make_rm(const Request&, Host&);
Made make_mv(const Request&, Host&);
Made make_mkdir(const Request&, Host&);
Made make_rmdir(const Request&, Host&);
Made make_exec(const Request&, Host&);
Right right_of_exec(const Request&);
/// With Right::named: the command's name.
[[nodiscard]] std::string_view named_command_of(const Request&);

}  // namespace ftpd
