// put with `"format":"tar"`: a directory comes in as one stream. See ftpd-protocol(7), "Directories".
//
// The store's side blocks, so it has a thread of its own. What that shares with the operation is a task,
// which both hold, and which knows the operation only as long as somebody waits for the result.
#include "server/operations.h"
#include "server/server.h"
#include "server/tree_channel.h"
#include "server/tree_fields.h"
#include "store/store.h"
#include "store/tree_upload.h"

namespace ftpd {
namespace {

struct TreePutRequest {
  TreeRequest tree;
  Digests expected;                   // of the stream: told in the first frame
  std::optional<DigestKind> digest;   // to be told in the reply, and perhaps told in the last frame
  std::optional<std::uint64_t> size;  // of the whole stream
};

struct Outcome {
  TreeStored stored;
  Digests digests;  // of the stream
};

class TreePut;

class PutTask : public std::enable_shared_from_this<PutTask> {
 public:
  PutTask(Reactor& reactor, std::shared_ptr<Store> store, TreePut& operation);

  /// On the thread: all of it. The staged tree is gone by the time the result is told.
  void run(const TreeRequest& request, DigestKinds compute);

  /// On the loop: nobody waits any more.
  void let_go() {
    operation_ = nullptr;
    channel.fail(Error::of(Reason::aborted, "called off"));
  }

  InputChannel channel;
  Digests expected;  // the loop writes it before it closes the channel, the thread reads it after

 private:
  [[nodiscard]] Result<Outcome> store_tree(const TreeRequest& request, DigestKinds compute);
  [[nodiscard]] Result<void> compare(const Digests& computed) const;

  /// On the thread: calls the operation on its loop, if there still is one. The loop outlives the thread.
  template <class... Args>
  void tell(void (TreePut::*what)(Args...), Args... args) {
    reactor_.post([self = shared_from_this(), what, ... args = std::move(args)]() mutable {
      if (self->operation_ != nullptr) (self->operation_->*what)(std::move(args)...);
    });
  }

  Reactor& reactor_;
  std::shared_ptr<Store> store_;
  TreePut* operation_;  // the loop's
};

class TreePut final : public Operation {
 public:
  TreePut(Host& host, RequestId id, TreePutRequest request)
      : host_(host),
        services_(host.services()),
        id_(std::move(id)),
        request_(std::move(request)),
        task_(std::make_shared<PutTask>(services_.reactor, host.caller().role->store, *this)) {
    task_->expected = request_.expected;
  }
  ~TreePut() override { task_->let_go(); }

  /// False where there is no thread for it.
  [[nodiscard]] bool begin() {
    DigestKinds compute;
    for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
      if (request_.expected.of(kind) || request_.digest == kind) compute.add(kind);
    }
    return services_.server.tree_threads().start(
        [task = task_, request = request_.tree, compute] { task->run(request, compute); });
  }

  void detach() override { task_->let_go(); }
  [[nodiscard]] bool survives_reset() const override { return true; }

  [[nodiscard]] std::size_t body_room() const override { return task_->channel.room(); }
  void on_body(std::string_view bytes) override {
    arrived_ += bytes.size();
    task_->channel.push(bytes);
  }

  void on_frame(const Header& header) override {
    auto told = told_digests(header);
    if (!told) return end_failed(told.error());
    for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
      const auto& late = told->of(kind);
      if (!late) continue;
      if (request_.digest != kind && !request_.expected.of(kind)) {
        return end_failed(bad_request(
            fmt::format("{}: only where the first frame has said \"digest\":\"{}\"; nothing is stored",
                        name(kind), name(kind))));
      }
      if (request_.expected.of(kind).value_or(*late) != *late) {
        return end_failed(
            bad_request(fmt::format("{}: another one was told before; nothing is stored", name(kind))));
      }
      task_->expected.set(kind, *late);
    }
  }

  void on_message_end() override {
    complete_ = true;
    if (request_.size && *request_.size != arrived_) {
      return end_failed(bad_request(
          fmt::format("filesize: {} announced, {} came; nothing is stored", *request_.size, arrived_)));
    }
    task_->channel.close();
  }

  void on_abort() override { end_failed({.status = Status::aborted, .message = "called off by the client"}); }
  void on_shutdown() override {
    if (complete_) return;  // all has come: it will be stored and answered
    end_failed(
        {.status = Status::shutting_down, .message = "the daemon stops before the upload was complete"});
  }

  // From the thread.
  void on_begun() { host_.invite_body(); }
  void on_room() { host_.resume_input(); }
  void on_outcome(Result<Outcome> outcome) {
    if (!outcome) return end_failed(failure_of(outcome.error()));
    end(reply_with_name({id_, request_.tree.path, services_.settings->server.max_header},
                        [&](JsonObject reply) {
                          reply.add("files", outcome->stored.files);
                          reply.add("directories", outcome->stored.directories);
                          reply.add("filesize", outcome->stored.bytes);
                          if (request_.digest)
                            reply.add(name(*request_.digest), *outcome->digests.of(*request_.digest));
                          return finish_reply(std::move(reply));
                        }));
  }

 private:
  void end_failed(const Failure& failure) {
    host_.note_failure("put", id_, failure);
    end(failure_reply(id_, failure));
  }
  void end(std::string reply) {
    host_.send(std::move(reply));
    host_.finish();
  }

  Host& host_;
  LoopServices& services_;  // outlives the host, which detach() ends
  RequestId id_;
  TreePutRequest request_;
  std::shared_ptr<PutTask> task_;
  std::uint64_t arrived_ = 0;  // of the stream
  bool complete_ = false;      // the message's last frame is here
};

PutTask::PutTask(Reactor& reactor, std::shared_ptr<Store> store, TreePut& operation)
    : channel([this] { tell(&TreePut::on_room); }),
      reactor_(reactor),
      store_(std::move(store)),
      operation_(&operation) {}

// --- on the thread --------------------------------------------------------------------------------
void PutTask::run(const TreeRequest& request, DigestKinds compute) {
  tell(&TreePut::on_outcome, store_tree(request, compute));
}

Result<Outcome> PutTask::store_tree(const TreeRequest& request, DigestKinds compute) {
  auto upload = TreeUpload::begin(store_, request);
  if (!upload) return std::unexpected(std::move(upload.error()));
  tell(&TreePut::on_begun);
  Hasher hasher(compute);
  const auto extracted = upload->extract([&]() -> Result<std::span<const char>> {
    auto bytes = channel.pull();
    if (bytes && !compute.empty()) hasher.update(*bytes);
    return bytes;
  });
  if (!extracted) return std::unexpected(extracted.error());
  Digests digests = hasher.digests();
  if (auto same = compare(digests); !same) return std::unexpected(std::move(same.error()));
  const auto stored = upload->commit();
  if (!stored) return std::unexpected(stored.error());
  return Outcome{*stored, std::move(digests)};
}

Result<void> PutTask::compare(const Digests& computed) const {
  for (const DigestKind kind : {DigestKind::md5, DigestKind::sha256}) {
    const auto& told = expected.of(kind);
    if (!told || *told == *computed.of(kind)) continue;
    return fail(Reason::checksum, fmt::format("{} of what came is {}, {} was told; nothing is stored",
                                              name(kind), *computed.of(kind), *told));
  }
  return {};
}

// --- the request ----------------------------------------------------------------------------------
Read<TreePutRequest> read_tree_put(const Request& request) {
  const Header& header = request.header;
  if (auto fine = refuse_file_fields(header, {"mode", "mtime", "upload", "offset"}); !fine) {
    return std::unexpected(std::move(fine.error()));
  }
  TreePutRequest put;
  auto path = path_field(header, "filename", RootIs::allowed);
  if (!path) return std::unexpected(std::move(path.error()));
  put.tree.path = std::move(*path);
  auto replace = overwrite_field(header);
  if (!replace) return std::unexpected(std::move(replace.error()));
  put.tree.replace = *replace;
  auto parents = optional_field(header.boolean("parents"));
  if (!parents) return std::unexpected(std::move(parents.error()));
  put.tree.parents = parents->value_or(false);
  auto wait = optional_field(header.boolean("wait"));  // the host keeps the body back until on_begun()
  if (!wait) return std::unexpected(std::move(wait.error()));
  auto told = told_digests(header);
  if (!told) return std::unexpected(std::move(told.error()));
  put.expected = std::move(*told);
  auto digest = digest_field(header);
  if (!digest) return std::unexpected(std::move(digest.error()));
  put.digest = *digest;
  auto total = optional_field(header.size("filesize"));
  if (!total) return std::unexpected(std::move(total.error()));
  put.size = *total;
  put.tree.stream_size = request.frame.more ? *total : request.frame.body_size;
  return put;
}

}  // namespace

Made make_put_tree(const Request& request, Host& host) {
  auto put = read_tree_put(request);
  if (!put) return std::unexpected(std::move(put.error()));
  auto operation = std::make_unique<TreePut>(host, request.id, std::move(*put));
  if (!operation->begin()) return std::unexpected(too_many_trees());
  return operation;
}

}  // namespace ftpd
