// get: a file goes out, straight from the page cache.
#include "server/digest_run.h"
#include "server/fields.h"
#include "server/get_header.h"
#include "server/operations.h"
#include "server/query.h"
#include "server/server.h"

namespace ftpd {
namespace {

struct GetRequest {
  RelPath path = RelPath::root();
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
  std::optional<DigestKind> digest;
  bool trailer = false;  // the digest comes behind the body
};

class Get final : public Query {
 public:
  Get(Host& host, RequestId id, GetRequest request)
      : Query(host, std::move(id)), request_(std::move(request)), digest_run_(host.services()) {}

  void detach() override {
    Query::detach();
    digest_run_.stop();
  }

  void start() override {
    auto store = host_.caller().role->store;
    if (store->in_memory()) {
      opened(find(*store, request_));
    } else {
      run_on_pool([store, request = request_] { return find(*store, request); },
                  [this](Result<OpenFile> file) { opened(std::move(file)); });
    }
  }

 private:
  static Result<OpenFile> find(const Store& store, const GetRequest& request) {
    auto file = store.open_file(request.path);
    if (file && request.offset > file->size) {
      return fail(Reason::invalid, fmt::format("offset: {} is beyond the end; the file has {} bytes",
                                               request.offset, file->size));
    }
    return file;
  }

  void opened(Result<OpenFile> file) {
    if (!file) return fail_with(failure_of(file.error()));
    file_ = std::move(*file);
    if (!request_.digest) {
      send_file({}, GetHeader::Last::yes);
      host_.finish();
      return;
    }
    // A trailer is computed while the bytes go out, and sees what they see.
    if (request_.trailer) send_file({}, GetHeader::Last::no);
    const auto source = request_.trailer ? DigestRun::Source::computed : DigestRun::Source::kept_or_computed;
    digest_run_.start(file_, *request_.digest, source,
                      [this](Result<Digests> digests) { digested(std::move(digests)); });
  }

  void digested(Result<Digests> digests) {
    if (!digests) return fail_with(failure_of(digests.error()));
    if (request_.trailer) {
      JsonObject last = begin_reply(id_);
      add_digests(last, *digests);
      host_.send(finish_reply(std::move(last)));
    } else {
      send_file(std::move(*digests), GetHeader::Last::yes);
    }
    host_.finish();
  }

  void send_file(Digests digests, GetHeader::Last last) {
    const std::uint64_t rest = file_.size - request_.offset;
    const std::uint64_t size = request_.length ? std::min(*request_.length, rest) : rest;
    host_.send(get_header({id_, request_.path, file_, size, std::move(digests), last},
                          host_.services().settings->server.max_header));
    if (size > 0) host_.send_file({file_.file, request_.offset, size, file_.in_memory});
  }

  GetRequest request_;
  OpenFile file_;
  DigestRun digest_run_;
};

Read<GetRequest> read_get(const Header& header) {
  GetRequest get;
  auto path = path_field(header, "filename", RootIs::refused);
  if (!path) return std::unexpected(std::move(path.error()));
  get.path = std::move(*path);
  auto offset = optional_field(header.size("offset"));
  if (!offset) return std::unexpected(std::move(offset.error()));
  get.offset = offset->value_or(0);
  auto length = optional_field(header.size("length"));
  if (!length) return std::unexpected(std::move(length.error()));
  get.length = *length;
  auto digest = digest_field(header);
  if (!digest) return std::unexpected(std::move(digest.error()));
  get.digest = *digest;
  auto trailer = optional_field(header.boolean("trailer"));
  if (!trailer) return std::unexpected(std::move(trailer.error()));
  get.trailer = trailer->value_or(false);
  if (get.trailer && !get.digest) {
    return std::unexpected(bad_request("trailer: only with digest, which says what it is to hold"));
  }
  return get;
}

}  // namespace

Made make_get(const Request& request, Host& host) {
  auto follow = optional_field(request.header.boolean("follow"));
  if (!follow) return std::unexpected(std::move(follow.error()));
  auto tar = tar_format(request.header);
  if (!tar) return std::unexpected(std::move(tar.error()));
  if (*tar) return make_get_tree(request, host);
  if (follow->value_or(false)) return make_follow(request, host);
  auto get = read_get(request.header);
  if (!get) return std::unexpected(std::move(get.error()));
  return std::make_unique<Get>(host, request.id, std::move(*get));
}

}  // namespace ftpd
