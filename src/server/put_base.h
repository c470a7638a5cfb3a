// What is common to all ways a file comes in: the reply, and its place while the pool works.
#pragma once

#include "server/fields.h"
#include "server/operation.h"
#include "server/put_request.h"
#include "server/server.h"

namespace ftpd {

class PutBase : public Operation {
 public:
  PutBase(Host& host, RequestId id, PutRequest request)
      : host_(host),
        services_(host.services()),
        id_(std::move(id)),
        request_(std::move(request)),
        store_(host.caller().role->store) {}

  [[nodiscard]] bool survives_reset() const override { return true; }
  [[nodiscard]] bool makes_directories() const override { return request_.upload.parents; }
  void on_abort() override { end_failed({.status = Status::aborted, .message = "called off by the client"}); }
  void on_shutdown() override {
    if (complete_) return;  // the pool has it: it will be stored and answered
    end_failed(
        {.status = Status::shutting_down, .message = "the daemon stops before the upload was complete"});
  }

 protected:
  /// Its store has no disk to wait for, and no tree to count.
  [[nodiscard]] bool never_waits() const { return store_->in_memory() && store_->options().quota == 0; }

  void end(std::string reply) { host_.settle(*this, std::move(reply)); }
  void end_failed(const Failure& failure) {
    host_.note_failure("put", id_, failure);
    end(failure_reply(id_, failure));
  }
  void end_stored(Result<Stored> stored) {
    if (!stored) return end_failed(failure_of(stored.error()));
    end(reply_with_name({id_, request_.upload.path, services_.settings->server.max_header},
                        [&](JsonObject reply) {
                          reply.add("filesize", stored->size);
                          if (request_.digest)
                            reply.add(name(*request_.digest), *stored->digests.of(*request_.digest));
                          return finish_reply(std::move(reply));
                        }));
  }

  Host& host_;
  LoopServices& services_;  // outlives the host, which detach() ends
  RequestId id_;
  PutRequest request_;
  std::shared_ptr<Store> store_;
  bool complete_ = false;  // the message's last frame is here
};

/// Up to here a body is collected in memory and stored by one job.
inline constexpr std::uint64_t small_put_size = 64 * 1024;

[[nodiscard]] std::unique_ptr<Operation> make_small_put(const Request& request, Host& host, PutRequest put);
[[nodiscard]] std::unique_ptr<Operation> make_large_put(const Request& request, Host& host, PutRequest put);

}  // namespace ftpd
