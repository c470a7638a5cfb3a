// A request that is one question to the store and one answer.
#pragma once

#include "server/operation.h"

namespace ftpd {

/// The base of the operations that read or change names: asks on the pool (or at once, where nothing can
/// wait), then answers or fails, and is over.
class Query : public Operation {
 public:
  Query(Host& host, RequestId id) : host_(host), id_(std::move(id)) {}

  void detach() override { job_.abandon(); }
  [[nodiscard]] bool owed_input() const override { return false; }
  void on_abort() override { fail_with({.status = Status::aborted, .message = "called off by the client"}); }
  void on_shutdown() override {
    fail_with({.status = Status::shutting_down, .message = "the daemon is stopping"});
  }

 protected:
  /// `answer` is given the value that `ask` gave, and sends the reply.
  template <class Ask, class Answer>
  void ask_on_pool(Ask ask, Answer answer) {
    run_on_pool(std::move(ask), [this, answer](auto result) { conclude(std::move(result), answer); });
  }

  /// `done` is given the result, on the loop.
  template <class Work, class Done>
  void run_on_pool(Work work, Done done) {
    LoopServices& services = host_.services();
    job_ = services.pool.submit(services.reactor, std::move(work), std::move(done));
  }

  template <class Value, class Answer>
  void conclude(Result<Value> result, Answer answer) {
    if (!result) return fail_with(failure_of(result.error()));
    answer(*result);
    host_.finish();
  }

  void fail_with(const Failure& failure) {
    host_.note_failure(host_.command(), id_, failure);
    host_.send(failure_reply(id_, failure));
    host_.finish();
  }

  Host& host_;
  RequestId id_;

 private:
  Job job_;
};

}  // namespace ftpd
