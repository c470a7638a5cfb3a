// rm, mv, mkdir, rmdir: names change, durably.
#include "server/fields.h"
#include "server/operations.h"
#include "server/query.h"
#include "server/server.h"

namespace ftpd {
namespace {

/// A change that is under way is answered when it is done: nobody is told that it did not happen.
template <class Change>
class NameChange final : public Query {
 public:
  NameChange(Host& host, RequestId id, Change change)
      : Query(host, std::move(id)), change_(std::move(change)) {}

  /// Not before the message is whole: until then it can be called off, and its client may be gone.
  void on_message_end() override {
    begun_ = true;
    run_on_pool(std::move(change_), [this](Result<void> done) {
      if (!done) return fail_with(failure_of(done.error()));
      host_.send(finish_reply(begin_reply(id_)));
      host_.finish();
    });
  }
  [[nodiscard]] bool survives_reset() const override { return true; }
  void on_abort() override {
    if (!begun_) Query::on_abort();
  }
  void on_shutdown() override {
    if (!begun_) Query::on_shutdown();
  }

 private:
  Change change_;
  bool begun_ = false;
};

/// `all`: those above it, too, as far as they are empty then.
Result<void> remove_directories(Store& store, const RelPath& path, bool all) {
  auto removed = store.remove_directory(path);
  for (RelPath above = path.parent(); removed && all && !above.is_root(); above = above.parent()) {
    if (!store.remove_directory(above)) break;
  }
  return removed;
}

template <class Change>
Made make_change(const Request& request, Host& host, Change change) {
  return std::make_unique<NameChange<Change>>(host, request.id, std::move(change));
}

}  // namespace

Made make_rm(const Request& request, Host& host) {
  auto path = path_field(request.header, "filename", RootIs::refused);
  if (!path) return std::unexpected(std::move(path.error()));
  auto recursive = optional_field(request.header.boolean("recursive"));
  if (!recursive) return std::unexpected(std::move(recursive.error()));
  return make_change(request, host,
                     [store = host.caller().role->store, path = std::move(*path),
                      deep = recursive->value_or(false)] { return store->remove(path, deep); });
}

Made make_mv(const Request& request, Host& host) {
  auto from = path_field(request.header, "filename", RootIs::refused);
  if (!from) return std::unexpected(std::move(from.error()));
  auto to = path_field(request.header, "to", RootIs::refused);
  if (!to) return std::unexpected(std::move(to.error()));
  auto replace = overwrite_field(request.header);
  if (!replace) return std::unexpected(std::move(replace.error()));
  return make_change(request, host,
                     [store = host.caller().role->store, from = std::move(*from), to = std::move(*to),
                      replace = *replace] { return store->rename(from, to, replace); });
}

Made make_mkdir(const Request& request, Host& host) {
  auto path = path_field(request.header, "filename", RootIs::refused);
  if (!path) return std::unexpected(std::move(path.error()));
  auto parents = optional_field(request.header.boolean("parents"));
  if (!parents) return std::unexpected(std::move(parents.error()));
  return make_change(request, host,
                     [store = host.caller().role->store, path = std::move(*path),
                      all = parents->value_or(false)] { return store->make_directory(path, all); });
}

Made make_rmdir(const Request& request, Host& host) {
  auto path = path_field(request.header, "filename", RootIs::refused);
  if (!path) return std::unexpected(std::move(path.error()));
  auto parents = optional_field(request.header.boolean("parents"));
  if (!parents) return std::unexpected(std::move(parents.error()));
  return make_change(request, host,
                     [store = host.caller().role->store, path = std::move(*path),
                      all = parents->value_or(false)] { return remove_directories(*store, path, all); });
}

}  // namespace ftpd
