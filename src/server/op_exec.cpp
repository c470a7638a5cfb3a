// exec: a command runs, its output and how it ended are one reply.
#include <fmt/ranges.h>

#include <csignal>

#include "server/exec_request.h"
#include "server/operations.h"
#include "server/server.h"

namespace ftpd {
namespace {

class Exec final : public Operation, public RunOwner {
 public:
  Exec(Host& host, RequestId id, ExecRequest request)
      : host_(host),
        id_(std::move(id)),
        request_(std::move(request)),
        what_(fmt::format("{}", fmt::join(request_.argv, " "))) {}

  void detach() override {
    job_.abandon();
    if (run_ != nullptr) run_->detach();
  }

  void start() override {
    auto store = host_.caller().role->store;
    if (request_.directory.is_root()) {
      run(store->open_directory(request_.directory));
      return;
    }
    LoopServices& services = host_.services();
    job_ = services.pool.submit(
        services.reactor, [store, path = request_.directory] { return store->open_directory(path); },
        [this](Result<UniqueFd> directory) { run(std::move(directory)); });
  }

  [[nodiscard]] std::size_t body_room() const override { return run_ != nullptr ? run_->input_room() : 0; }
  void on_body(std::string_view bytes) override { run_->feed(bytes); }
  void on_message_end() override {
    input_complete_ = true;
    if (run_ != nullptr) run_->end_input();
  }
  [[nodiscard]] bool owed_input() const override { return false; }
  [[nodiscard]] EndOfInput on_end_of_input() override {
    return request_.on_eof == OnEnd::kill ? EndOfInput::gone : EndOfInput::finish;
  }
  void on_frame(const Header& header) override {
    for (const std::string_view key : {"signal", "resize"}) {
      if (!header.has(key)) continue;
      on_run_failed(
          {.status = Status::unsupported, .message = fmt::format("{}: not built in this version", key)});
      return;
    }
  }
  void on_output_room() override {
    if (run_ != nullptr) run_->resume_output();
  }
  void on_abort() override { end_early(RunReason::cancelled); }
  void on_shutdown() override { end_early(RunReason::shutdown); }

 private:
  void run(Result<UniqueFd> directory) {
    if (!directory) return on_run_failed(failure_of(directory.error()));
    Command command{.argv = std::move(request_.argv),
                    .environment = std::move(request_.environment),
                    .directory = std::move(*directory),
                    .standard_input = request_.has_input,
                    .merge = request_.merge};
    run_ = std::make_unique<CommandRun>(host_.services(), *this,
                                        CommandRun::Plan{.command = std::move(command),
                                                         .role = host_.caller().role,
                                                         .timeout = request_.timeout,
                                                         .output = request_.output});
    run_->start();
    if (input_complete_) run_->end_input();
    host_.resume_input();
  }

  void end_early(RunReason reason) {
    if (run_ != nullptr) {
      run_->end_early(reason);
    } else {
      on_run_failed({.status = reason == RunReason::shutdown ? Status::shutting_down : Status::aborted,
                     .message = "before the command was started"});
    }
  }

  void on_run_failed(const Failure& failure) override {
    host_.note_failure("exec", id_, failure);
    host_.send(failure_reply(id_, failure));
    host_.finish();
  }
  void on_run_output(OutputStream stream, std::string_view bytes) override {
    JsonObject reply = begin_reply(id_);
    reply.add("stream", stream == OutputStream::standard_output ? "stdout" : "stderr");
    reply.add("more", true);
    std::string frame = finish_reply(std::move(reply), bytes.size());
    frame += bytes;
    host_.send(std::move(frame));
    if (host_.unsent() > Host::output_high) run_->pause_output();
  }
  void on_run_input_room() override { host_.resume_input(); }
  void on_run_end(const RunEnd& end) override {
    log_command(host_.peer(), what_, end);
    Spool& out = run_->stdout_spool();
    Spool& err = run_->stderr_spool();
    host_.send(final_header(end, out.size(), err.size()));
    for (Spool* spool : {&out, &err}) {
      if (spool->size() == 0) continue;
      if (spool->in_file()) {
        host_.send_file(spool->file());
      } else {
        host_.send(spool->take_memory());
      }
    }
    host_.finish();
  }

  [[nodiscard]] std::string final_header(const RunEnd& end, std::uint64_t out, std::uint64_t err) const {
    JsonObject reply;
    switch (end.reason) {
      case RunReason::exited:
      case RunReason::signalled: reply = begin_reply(id_); break;
      case RunReason::timeout: reply = begin_failure(Status::timeout, "the command ran over its time"); break;
      case RunReason::cancelled: reply = begin_failure(Status::aborted, "called off by the client"); break;
      case RunReason::shutdown: reply = begin_failure(Status::shutting_down, "the daemon is stopping"); break;
    }
    reply.add("reason", name(end.reason));
    if (end.reason == RunReason::exited) reply.add("exit", end.value);
    if (end.reason == RunReason::signalled) reply.add("signal", signal_name(end.value));
    if (request_.output == CommandRun::Output::kept) {
      reply.add("stdout_size", out);
      reply.add("stderr_size", err);
    }
    if (end.truncated) reply.add("truncated", true);
    reply.add("duration_ms", end.duration_ms);
    return finish_reply(std::move(reply), out + err);
  }

  [[nodiscard]] JsonObject begin_failure(Status status, std::string message) const {
    host_.services().counters.failures.add();
    JsonObject reply;
    reply.add("ok", false);
    if (id_.present()) reply.add_json("id", id_.json());
    add_failure(reply, {.status = status, .message = std::move(message)});
    return reply;
  }

  Host& host_;
  RequestId id_;
  ExecRequest request_;
  std::string what_;  // for the log
  Job job_;
  std::unique_ptr<CommandRun> run_;
  bool input_complete_ = false;
};

}  // namespace

Right right_of_exec(const Request& request) {
  if (request.header.has("command")) return Right::shell;
  const auto name = request.header.string("name");
  return name && *name && !request.header.has("argv") ? Right::named : Right::exec;
}

std::string_view named_command_of(const Request& request) {
  const auto name = request.header.string("name");
  return name && *name ? **name : std::string_view{};
}

Made make_exec(const Request& request, Host& host) {
  auto exec = read_exec(request, host);
  if (!exec) return std::unexpected(exec.error());
  return std::make_unique<Exec>(host, request.id, std::move(*exec));
}

}  // namespace ftpd
