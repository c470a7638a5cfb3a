// A directory's listing, line by line as it arrives; the verb ls.
#include "client/listing.h"

#include <fmt/format.h>

#include "client/text.h"
#include "client/verbs.h"

namespace ftpd::client {
namespace {

// A name of 4,096 bytes, each escaped as \u00xx, and the other fields.
constexpr std::size_t longest_line = 32U * 1024;

class PrintTask final : public ListTask {
 public:
  PrintTask(const Session& session, std::string request)
      : ListTask(session.report, session.options.operands.empty() ? "." : session.options.operands[0],
                 std::move(request)),
        detail_(session.options.detail) {}

 private:
  Outcome<void> line(std::string_view json) override {
    const auto entry = parse_entry(parser(), json);
    if (!entry) return connection_failure("a line of the listing that is no entry: " + printable(json));
    if (report().json()) {
      report().print(fmt::format("{}\n", json));
    } else if (detail_ == Detail::full) {
      report().print(fmt::format("{} {:>12} {:19} {}\n", human_mode(entry->type, entry->mode.value_or(0)),
                                 entry->size, entry->mtime ? human_date(*entry->mtime) : std::string{},
                                 printable(entry->name)));
    } else {
      report().print(printable(entry->name) + "\n");
    }
    return {};
  }
  Detail detail_;
};

}  // namespace

std::optional<ListedEntry> parse_entry(HeaderParser& parser, std::string_view line) {
  const auto parsed = parser.parse(line, false);
  if (!parsed) return std::nullopt;
  const auto name = parsed->string("name");
  const auto coded = parsed->string("name_base64");
  const auto type = parsed->string("type");
  const auto size = parsed->size("filesize");
  const auto mode = parsed->integer("mode", 0, 07777);
  const auto mtime = parsed->number("mtime");
  if (!name || !coded || !type || !*type || !size || !mode || !mtime) return std::nullopt;
  ListedEntry entry;
  if (*name) {
    entry.name = **name;
  } else {
    auto bytes = *coded ? from_base64(**coded) : std::nullopt;
    if (!bytes) return std::nullopt;
    entry.name = std::move(*bytes);
  }
  entry.type = **type;
  entry.size = size->value_or(0);
  if (*mode) entry.mode = static_cast<std::uint64_t>(**mode);
  entry.mtime = *mtime;
  return entry;
}

std::string list_request(const std::string& path, Depth depth) {
  JsonObject request;
  request.add("cmd", "ls");
  add_filename(request, path);
  if (depth == Depth::recursive) request.add("recursive", true);
  return std::move(request).take();
}

Outcome<void> ListTask::piece(std::string_view bytes) {
  for (;;) {
    const std::size_t end = bytes.find('\n');
    if (partial_.size() + std::min(end, bytes.size()) > longest_line) {
      return connection_failure("a line of the listing is too long");
    }
    if (end == std::string_view::npos) break;
    partial_ += bytes.substr(0, end);
    if (!partial_.empty()) {
      if (auto done = line(partial_); !done) return done;
    }
    partial_.clear();
    bytes.remove_prefix(end + 1);
  }
  partial_ += bytes;
  return {};
}

Outcome<void> ListTask::complete() {
  if (partial_.empty()) return {};
  return line(partial_);
}

Outcome<void> run_ls(const Session& session) {
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  const auto& operands = session.options.operands;
  PrintTask task{session, list_request(operands.empty() ? "." : operands[0], session.options.depth)};
  return (*connection)->run(task);
}

}  // namespace ftpd::client
