// get: a file goes out, straight from the page cache.
#include "server/fields.h"
#include "server/operations.h"
#include "server/query.h"
#include "server/server.h"

namespace ftpd {
namespace {

class Get final : public Query {
 public:
  struct Range {
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> length;
  };

  Get(Host& host, RequestId id, RelPath path, Range range)
      : Query(host, std::move(id)), path_(std::move(path)), range_(range) {}

  void start() override {
    const auto answer = [this](const OpenFile& file) { return this->answer(file); };
    auto store = host_.caller().role->store;
    if (store->in_memory()) {
      conclude(find(*store, path_, range_), answer);
    } else {
      ask_on_pool([store, path = path_, range = range_] { return find(*store, path, range); }, answer);
    }
  }

 private:
  static Result<OpenFile> find(const Store& store, const RelPath& path, const Range& range) {
    auto file = store.open_file(path);
    if (file && range.offset > file->size) {
      return fail(Reason::invalid, fmt::format("offset: {} is beyond the end; the file has {} bytes",
                                               range.offset, file->size));
    }
    return file;
  }

  void answer(const OpenFile& file) {
    const std::uint64_t rest = file.size - range_.offset;
    const std::uint64_t size = range_.length ? std::min(*range_.length, rest) : rest;
    host_.send(header(file, size));
    if (size > 0) host_.send_file({file.file, range_.offset, size, file.in_memory});
  }

  /// Obeys max_header: where a long name does not fit, the old spellings are left out, then the name.
  [[nodiscard]] std::string header(const OpenFile& file, std::uint64_t size) const {
    const std::size_t most = host_.services().settings->server.max_header + limits::length_size;
    enum class Names : std::uint8_t { both, new_ones, none };
    for (const Names names : {Names::both, Names::new_ones, Names::none}) {
      JsonObject reply = begin_reply(id_);
      if (names != Names::none) add_name(reply, path_);
      reply.add("filesize", file.size);
      if (names == Names::both && path_.is_text()) {
        reply.add("file_name", path_.text());
        reply.add("file_size", file.size);
      }
      reply.add("mtime", seconds_of(file.mtime));
      reply.add("mode", std::uint64_t{file.mode});
      std::string frame = finish_reply(std::move(reply), size);
      if (frame.size() <= most || names == Names::none) return frame;
    }
    return {};
  }

  RelPath path_;
  Range range_;
};

}  // namespace

Made make_get(const Request& request, Host& host) {
  if (auto fine = refuse_unbuilt(request.header, {"digest", "trailer", "follow"}); !fine) {
    return std::unexpected(fine.error());
  }
  auto path = path_field(request.header, "filename", RootIs::refused);
  if (!path) return std::unexpected(path.error());
  auto offset = optional_field(request.header.size("offset"));
  if (!offset) return std::unexpected(offset.error());
  auto length = optional_field(request.header.size("length"));
  if (!length) return std::unexpected(length.error());
  return std::make_unique<Get>(host, request.id, std::move(*path), Get::Range{offset->value_or(0), *length});
}

}  // namespace ftpd
