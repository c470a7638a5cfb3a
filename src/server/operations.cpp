// The table of operations.
#include "server/operations.h"

#include <algorithm>
#include <array>

namespace ftpd {
namespace {

template <Right R>
Right always(const Request&) {
  return R;
}

constexpr std::array table{
    OperationRow{"ping", always<Right::none>, make_ping},
    OperationRow{"hello", always<Right::none>, make_hello},
    OperationRow{"quit", always<Right::none>, make_quit},
    OperationRow{"stats", always<Right::admin>, make_stats},
    OperationRow{"put", always<Right::write>, make_put, /*takes_file=*/true, /*lasting=*/true},
    OperationRow{"get", always<Right::read>, make_get},
    OperationRow{"ls", always<Right::read>, make_ls},
    OperationRow{"stat", always<Right::read>, make_stat},
    OperationRow{"df", always<Right::read>, make_df},
    OperationRow{"sum", always<Right::read>, make_sum},
    OperationRow{"rm", always<Right::remove>, make_rm, /*takes_file=*/false, /*lasting=*/true},
    OperationRow{"mv", always<Right::write>, make_mv, /*takes_file=*/false, /*lasting=*/true},
    OperationRow{"mkdir", always<Right::write>, make_mkdir, /*takes_file=*/false, /*lasting=*/true},
    OperationRow{"rmdir", always<Right::remove>, make_rmdir, /*takes_file=*/false, /*lasting=*/true},
    OperationRow{"exec", right_of_exec, make_exec},
};

constexpr std::array<std::string_view, 1> later{"auth"};

}  // namespace

std::span<const OperationRow> operations() { return table; }

const OperationRow* find_operation(std::string_view name) {
  const auto row = std::ranges::find(table, name, &OperationRow::name);
  return row == table.end() ? nullptr : row;
}

bool known_but_not_built(std::string_view name) { return std::ranges::find(later, name) != later.end(); }

}  // namespace ftpd
