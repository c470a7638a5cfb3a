// Edit distance with swapped neighbours (optimal string alignment), over short names.
#include "config/suggest.h"

#include <algorithm>
#include <vector>

namespace ftpd::settings {
namespace {

constexpr std::size_t longest_name = 64;  // no known name is longer, and the work is bounded

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t other = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({other, last[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view typed, std::span<const std::string_view> known) {
  if (typed.size() > longest_name) return {};
  std::string_view best;
  std::size_t best_distance = typed.size() / 4 + 2;  // from here on it is another word
  for (const std::string_view name : known) {
    const std::size_t d = distance(typed, name);
    if (d >= best_distance || d >= name.size()) continue;
    best = name;
    best_distance = d;
  }
  return best;
}

}  // namespace ftpd::settings
