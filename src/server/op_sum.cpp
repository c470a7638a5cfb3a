// sum: the digest of a file.
#include "server/digest_run.h"
#include "server/fields.h"
#include "server/operations.h"
#include "server/query.h"

namespace ftpd {
namespace {

class Sum final : public Query {
 public:
  Sum(Host& host, RequestId id, RelPath path, DigestKind kind)
      : Query(host, std::move(id)), path_(std::move(path)), kind_(kind), digest_run_(host.services()) {}

  void detach() override {
    Query::detach();
    digest_run_.stop();
  }

  void start() override {
    run_on_pool([store = host_.caller().role->store, path = path_] { return store->open_file(path); },
                [this](Result<OpenFile> file) {
                  if (!file) return fail_with(failure_of(file.error()));
                  digest_run_.start(*file, kind_, DigestRun::Source::kept_or_computed,
                                    [this](Result<Digests> digests) { answer(std::move(digests)); });
                });
  }

 private:
  void answer(Result<Digests> digests) {
    if (!digests) return fail_with(failure_of(digests.error()));
    JsonObject reply = begin_reply(id_);
    add_digests(reply, *digests);
    host_.send(finish_reply(std::move(reply)));
    host_.finish();
  }

  RelPath path_;
  DigestKind kind_;
  DigestRun digest_run_;
};

}  // namespace

Made make_sum(const Request& request, Host& host) {
  auto path = path_field(request.header, "filename", RootIs::refused);
  if (!path) return std::unexpected(std::move(path.error()));
  auto digest = digest_field(request.header);
  if (!digest) return std::unexpected(std::move(digest.error()));
  if (!*digest) return std::unexpected(bad_request("digest: missing; \"md5\" or \"sha256\""));
  return std::make_unique<Sum>(host, request.id, std::move(*path), **digest);
}

}  // namespace ftpd
