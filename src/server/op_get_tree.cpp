// get with `"format":"tar"`: a directory goes out as one stream. See ftpd-protocol(7), "Directories".
//
// The store's side blocks, so it has a thread of its own. What that shares with the operation is a task,
// which both hold, and which knows the operation only as long as somebody waits for the stream.
#include "server/operations.h"
#include "server/server.h"
#include "server/tree_channel.h"
#include "server/tree_fields.h"
#include "store/store.h"
#include "store/tree_download.h"

namespace ftpd {
namespace {

struct Outcome {
  TreeSent sent;
  Digests digests;  // of the stream
};

class TreeGet;

class GetTask : public std::enable_shared_from_this<GetTask> {
 public:
  GetTask(Reactor& reactor, std::shared_ptr<Store> store, TreeGet& operation)
      : channel([this] { tell_of_chunks(); }),
        reactor_(reactor),
        store_(std::move(store)),
        operation_(&operation) {}

  /// On the thread: all of it.
  void run(const RelPath& path, DigestKinds compute);

  /// On the loop: nobody waits any more.
  void let_go() {
    operation_ = nullptr;
    channel.cancel();
  }

  OutputChannel channel;

 private:
  [[nodiscard]] Result<Outcome> send(const RelPath& path, DigestKinds compute);
  void tell_of_chunks();

  Reactor& reactor_;  // outlives the thread
  std::shared_ptr<Store> store_;
  TreeGet* operation_;  // the loop's
};

class TreeGet final : public Operation {
 public:
  TreeGet(Host& host, RequestId id, RelPath path, std::optional<DigestKind> digest)
      : host_(host),
        id_(std::move(id)),
        path_(std::move(path)),
        digest_(digest),
        task_(std::make_shared<GetTask>(host.services().reactor, host.caller().role->store, *this)) {}
  ~TreeGet() override { task_->let_go(); }

  /// False where there is no thread for it.
  [[nodiscard]] bool begin() {
    return host_.services().server.tree_threads().start(
        [task = task_, path = path_, compute = digest_ ? DigestKinds(*digest_) : DigestKinds()] {
          task->run(path, compute);
        });
  }

  void detach() override { task_->let_go(); }

  void on_output_room() override { go_on(); }
  [[nodiscard]] bool owed_input() const override { return false; }
  void on_abort() override { end_failed({.status = Status::aborted, .message = "called off by the client"}); }
  void on_shutdown() override {
    end_failed({.status = Status::shutting_down, .message = "the daemon is stopping"});
  }

  // From the thread.
  void go_on() {
    while (host_.unsent() <= Host::output_high) {
      auto chunk = task_->channel.take();
      if (!chunk) {
        if (outcome_) end_sent(*outcome_);
        return;
      }
      host_.send(chunk_header(chunk->size()));
      host_.send(std::move(*chunk));
    }
  }
  void on_outcome(Result<Outcome> outcome) {
    if (!outcome) return end_failed(failure_of(outcome.error()));
    outcome_ = std::move(*outcome);
    go_on();
  }

 private:
  [[nodiscard]] std::string chunk_header(std::size_t size) {
    const auto complete = [&](JsonObject reply) {
      if (!begun_) reply.add("format", "tar");
      reply.add("more", true);
      return finish_reply(std::move(reply), size);
    };
    std::string header =
        begun_ ? complete(begin_reply(id_))
               : reply_with_name({id_, path_, host_.services().settings->server.max_header}, complete);
    begun_ = true;
    return header;
  }

  void end_sent(const Outcome& outcome) {
    JsonObject reply = begin_reply(id_);
    reply.add("files", outcome.sent.files);
    reply.add("directories", outcome.sent.directories);
    reply.add("filesize", outcome.sent.bytes);
    reply.add("skipped", outcome.sent.skipped);
    if (digest_) reply.add(name(*digest_), *outcome.digests.of(*digest_));
    host_.send(finish_reply(std::move(reply)));
    host_.finish();
  }

  /// In place of the stream, or of what is still missing of it.
  void end_failed(const Failure& failure) {
    host_.note_failure("get", id_, failure);
    host_.send(failure_reply(id_, failure));
    host_.finish();
  }

  Host& host_;
  RequestId id_;
  RelPath path_;
  std::optional<DigestKind> digest_;
  std::shared_ptr<GetTask> task_;
  std::optional<Outcome> outcome_;  // the thread has ended well
  bool begun_ = false;              // the first frame has gone out
};

// --- on the thread --------------------------------------------------------------------------------
void GetTask::tell_of_chunks() {
  reactor_.post([self = shared_from_this()] {
    if (self->operation_ != nullptr) self->operation_->go_on();
  });
}

void GetTask::run(const RelPath& path, DigestKinds compute) {
  reactor_.post([self = shared_from_this(), outcome = send(path, compute)]() mutable {
    if (self->operation_ != nullptr) self->operation_->on_outcome(std::move(outcome));
  });
}

Result<Outcome> GetTask::send(const RelPath& path, DigestKinds compute) {
  Hasher hasher(compute);
  const auto sent = send_tree(*store_, path, [&](std::span<const char> bytes) {
    if (!compute.empty()) hasher.update(bytes);
    return channel.push(bytes);
  });
  if (!sent) return std::unexpected(sent.error());
  if (auto flushed = channel.flush(); !flushed) return std::unexpected(std::move(flushed.error()));
  return Outcome{*sent, hasher.digests()};
}

}  // namespace

Made make_get_tree(const Request& request, Host& host) {
  const Header& header = request.header;
  if (auto fine = refuse_file_fields(header, {"offset", "length", "follow", "trailer"}); !fine) {
    return std::unexpected(std::move(fine.error()));
  }
  auto path = path_field(header, "filename", RootIs::allowed);
  if (!path) return std::unexpected(std::move(path.error()));
  auto digest = digest_field(header);
  if (!digest) return std::unexpected(std::move(digest.error()));
  auto operation = std::make_unique<TreeGet>(host, request.id, std::move(*path), *digest);
  if (!operation->begin()) return std::unexpected(too_many_trees());
  return operation;
}

}  // namespace ftpd
