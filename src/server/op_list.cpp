// ls, stat and df: what there is.
#include "server/digest_run.h"
#include "server/fields.h"
#include "server/operations.h"
#include "server/query.h"
#include "server/server.h"

namespace ftpd {
namespace {

// A listing is built in memory before its size can be told.
constexpr std::size_t most_entries = 200'000;

void add_attributes(JsonObject& object, const Entry& entry) {
  object.add("type", name(entry.type));
  object.add("filesize", entry.size);
  object.add("mtime", seconds_of(entry.mtime));
  object.add("mode", std::uint64_t{entry.mode});
}

/// A name that JSON can't carry, or that would confuse a terminal, travels as base64.
bool needs_base64(std::string_view name) {
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return true;
  }
  return !simdjson::validate_utf8(name.data(), name.size());
}

std::string listing(const std::vector<Entry>& entries) {
  std::string body;
  for (const Entry& entry : entries) {
    JsonObject line;
    if (needs_base64(entry.name)) {
      line.add("name_base64", to_base64(entry.name));
    } else {
      line.add("name", entry.name);
    }
    add_attributes(line, entry);
    body += std::move(line).take();
    body += '\n';
  }
  return body;
}

template <class Ask, class Tell>
class StoreQuery final : public Query {
 public:
  StoreQuery(Host& host, RequestId id, Ask ask, Tell tell)
      : Query(host, std::move(id)), ask_(std::move(ask)), tell_(std::move(tell)) {}

  void start() override {
    ask_on_pool(std::move(ask_), [this](auto& answer) { tell_(host_, id_, answer); });
  }

 private:
  Ask ask_;
  Tell tell_;
};

}  // namespace

Made make_ls(const Request& request, Host& host) {
  auto path = path_field(request.header, "filename", RootIs::allowed);
  if (!path) return std::unexpected(path.error());
  auto recursive = optional_field(request.header.boolean("recursive"));
  if (!recursive) return std::unexpected(recursive.error());
  auto ask = [store = host.caller().role->store, path = std::move(*path),
              deep = recursive->value_or(false)]() -> Result<std::string> {
    auto entries = store->list(path, deep, most_entries);
    if (!entries) return std::unexpected(std::move(entries.error()));
    return listing(*entries);
  };
  auto tell = [](Host& to, const RequestId& id, std::string& body) {
    to.send(finish_reply(begin_reply(id), body.size()));
    if (!body.empty()) to.send(std::move(body));
  };
  return std::make_unique<StoreQuery<decltype(ask), decltype(tell)>>(host, request.id, std::move(ask), tell);
}

namespace {

/// What is held of an upload, and its digest where that is asked for.
class HeldStat final : public Query {
 public:
  HeldStat(Host& host, RequestId id, UploadKey key, std::optional<DigestKind> digest)
      : Query(host, std::move(id)), key_(std::move(key)), digest_(digest), digest_run_(host.services()) {}

  void detach() override {
    Query::detach();
    digest_run_.stop();
  }

  void start() override {
    run_on_pool([store = host_.caller().role->store, key = key_] { return store->held(key); },
                [this](Result<Held> held) {
                  if (!held) return fail_with(failure_of(held.error()));
                  if (!digest_) return answer(held->size, {});
                  OpenFile file;
                  file.file = held->file;
                  file.size = held->size;
                  // It grows: a digest that is kept with it would be of no use to anybody.
                  digest_run_.start(file, *digest_, DigestRun::Source::computed,
                                    [this, size = held->size](Result<Digests> digests) {
                                      if (!digests) return fail_with(failure_of(digests.error()));
                                      answer(size, *digests);
                                    });
                });
  }

 private:
  void answer(std::uint64_t size, const Digests& digests) {
    JsonObject reply = begin_reply(id_);
    reply.add("offset", size);
    add_digests(reply, digests);
    host_.send(finish_reply(std::move(reply)));
    host_.finish();
  }

  UploadKey key_;
  std::optional<DigestKind> digest_;
  DigestRun digest_run_;
};

}  // namespace

Made make_stat(const Request& request, Host& host) {
  auto upload = upload_field(request.header, host.caller());
  if (!upload) return std::unexpected(std::move(upload.error()));
  if (*upload) {
    auto digest = digest_field(request.header);
    if (!digest) return std::unexpected(std::move(digest.error()));
    return std::make_unique<HeldStat>(host, request.id, std::move(**upload), *digest);
  }
  auto path = path_field(request.header, "filename", RootIs::allowed);
  if (!path) return std::unexpected(path.error());
  auto ask = [store = host.caller().role->store, path = std::move(*path)] { return store->stat(path); };
  auto tell = [](Host& to, const RequestId& id, const Entry& entry) {
    JsonObject reply = begin_reply(id);
    add_attributes(reply, entry);
    to.send(finish_reply(std::move(reply)));
  };
  return std::make_unique<StoreQuery<decltype(ask), decltype(tell)>>(host, request.id, std::move(ask), tell);
}

Made make_df(const Request& request, Host& host) {
  auto ask = [store = host.caller().role->store] { return store->space(); };
  auto tell = [](Host& to, const RequestId& id, const Space& space) {
    JsonObject reply = begin_reply(id);
    reply.add("total", space.total).add("free", space.free);
    reply.add("quota", space.quota).add("quota_used", space.quota_used);
    to.send(finish_reply(std::move(reply)));
  };
  return std::make_unique<StoreQuery<decltype(ask), decltype(tell)>>(host, request.id, std::move(ask), tell);
}

}  // namespace ftpd
