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
    OperationRow{"put", always<Right::write>, make_put, /*overlaps=*/true, /*lasting=*/true},
    OperationRow{"get", always<Right::read>, make_get},
    OperationRow{"ls", always<Right::read>, make_ls},
    OperationRow{"stat", always<Right::read>, make_stat},
    OperationRow{"exec", right_of_exec, make_exec},
};

constexpr std::array<std::string_view, 7> later{"auth", "df", "sum", "rm", "mv", "mkdir", "rmdir"};

}  // namespace

std::span<const OperationRow> operations() { return table; }

const OperationRow* find_operation(std::string_view name) {
  const auto row = std::ranges::find(table, name, &OperationRow::name);
  return row == table.end() ? nullptr : row;
}

bool known_but_not_built(std::string_view name) { return std::ranges::find(later, name) != later.end(); }

}  // namespace ftpd
