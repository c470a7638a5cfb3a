// get: a file goes out, straight from the page cache.
#include "server/fields.h"
#include "server/operations.h"
#include "server/server.h"

namespace ftpd {
namespace {

class Get final : public Operation {
 public:
  struct Range {
    std::uint64_t offset = 0;
    std::optional<std::uint64_t> length;
  };

  Get(Host& host, RequestId id, RelPath path, Range range)
      : host_(host), id_(std::move(id)), path_(std::move(path)), range_(range) {}

  void detach() override { job_.abandon(); }

  void start() override {
    auto store = host_.caller().role->store;
    if (store->in_memory()) {
      answer(store->open_file(path_));
      return;
    }
    LoopServices& services = host_.services();
    job_ = services.pool.submit(
        services.reactor, [store, path = path_] { return store->open_file(path); },
        [this](Result<OpenFile> file) { answer(std::move(file)); });
  }

  void on_abort() override { fail_with({.status = Status::aborted, .message = "called off by the client"}); }
  void on_shutdown() override {
    fail_with({.status = Status::shutting_down, .message = "the daemon is stopping"});
  }

 private:
  void fail_with(const Failure& failure) {
    host_.services().counters.failures.add();
    host_.send(failure_reply(id_, failure));
    host_.finish();
  }

  void answer(Result<OpenFile> file) {
    if (!file) return fail_with(failure_of(file.error()));
    if (range_.offset > file->size) {
      return fail_with(bad_request(
          fmt::format("offset: {} is beyond the end; the file has {} bytes", range_.offset, file->size)));
    }
    const std::uint64_t rest = file->size - range_.offset;
    const std::uint64_t size = range_.length ? std::min(*range_.length, rest) : rest;
    host_.send(header(*file, size));
    if (size > 0) host_.send_file({file->file, range_.offset, size, file->in_memory});
    host_.finish();
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

  Host& host_;
  RequestId id_;
  RelPath path_;
  Range range_;
  Job job_;
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
