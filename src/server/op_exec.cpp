// exec: a command runs, its output and how it ended are one reply.
#include <fmt/ranges.h>

#include <csignal>

#include "server/command_request.h"
#include "server/fields.h"
#include "server/operations.h"
#include "server/server.h"

namespace ftpd {
namespace {

enum class OnEnd : std::uint8_t { finish, kill };  // `on_eof`

struct ExecRequest {
  std::vector<std::string> argv;
  std::vector<std::string> environment;
  RelPath directory = RelPath::root();
  Duration timeout{};
  bool merge = false;
  CommandRun::Output output = CommandRun::Output::kept;
  bool has_input = false;
  OnEnd on_eof = OnEnd::finish;
};

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

Read<std::vector<std::string>> read_argv(const Header& header) {
  auto command = optional_field(header.string("command"));
  if (!command) return std::unexpected(command.error());
  auto argv = optional_field(header.strings("argv"));
  if (!argv) return std::unexpected(argv.error());
  if (command->has_value() == argv->has_value()) {
    return std::unexpected(
        bad_request("exec takes one of command (a shell's line) and argv (an array of strings)"));
  }
  const auto has_nul = [](std::string_view text) { return text.find('\0') != std::string_view::npos; };
  if (*command) {
    if (has_nul(**command))
      return std::unexpected(bad_request("command: holds a NUL, which no argument can"));
    return shell_argv(**command);
  }
  std::vector<std::string> words;
  for (const std::string_view word : **argv) {
    if (has_nul(word)) return std::unexpected(bad_request("argv: holds a NUL, which no argument can"));
    words.emplace_back(word);
  }
  if (words.empty() || words.front().empty()) {
    return std::unexpected(bad_request("argv: must have the program as its first string"));
  }
  return words;
}

Read<std::vector<std::pair<std::string, std::string>>> read_environment(const Header& header) {
  std::vector<std::pair<std::string, std::string>> added;
  auto env = optional_field(header.string_map("env"));
  if (!env) return std::unexpected(env.error());
  if (!*env) return added;
  for (const auto& [key, value] : **env) {
    if (key.empty() || key.find('=') != std::string_view::npos || key.find('\0') != std::string_view::npos ||
        value.find('\0') != std::string_view::npos) {
      return std::unexpected(
          bad_request("env: names must not be empty or hold '=', and nothing may hold a NUL"));
    }
    added.emplace_back(key, value);
  }
  return added;
}

Read<ExecRequest> read_exec(const Request& request, const Role& role) {
  const Header& header = request.header;
  if (auto fine = refuse_unbuilt(header, {"name", "args", "pty"}); !fine)
    return std::unexpected(fine.error());
  auto stream = optional_field(header.boolean("stream"));
  if (!stream) return std::unexpected(stream.error());
  ExecRequest exec;
  if (stream->value_or(false)) exec.output = CommandRun::Output::live;
  auto argv = read_argv(header);
  if (!argv) return std::unexpected(argv.error());
  exec.argv = std::move(*argv);
  auto added = read_environment(header);
  if (!added) return std::unexpected(added.error());
  exec.environment = environment_of(role, std::move(*added));
  if (header.has("cwd")) {
    auto cwd = path_field(header, "cwd", RootIs::allowed);
    if (!cwd) return std::unexpected(cwd.error());
    exec.directory = std::move(*cwd);
  }
  auto timeout = optional_field(header.size("timeout_ms"));
  if (!timeout) return std::unexpected(timeout.error());
  exec.timeout = run_timeout(role, *timeout);
  auto merge = optional_field(header.boolean("merge"));
  if (!merge) return std::unexpected(merge.error());
  exec.merge = merge->value_or(false);
  auto on_eof = optional_field(header.string("on_eof"));
  if (!on_eof) return std::unexpected(on_eof.error());
  if (*on_eof && **on_eof != "finish" && **on_eof != "kill") {
    return std::unexpected(bad_request("on_eof: must be \"finish\" or \"kill\""));
  }
  exec.on_eof = *on_eof && **on_eof == "kill" ? OnEnd::kill : OnEnd::finish;
  exec.has_input = request.frame.body_size > 0 || request.frame.more;
  return exec;
}

}  // namespace

Right right_of_exec(const Request& request) {
  return request.header.has("command") ? Right::shell : Right::exec;
}

Made make_exec(const Request& request, Host& host) {
  auto exec = read_exec(request, *host.caller().role);
  if (!exec) return std::unexpected(exec.error());
  return std::make_unique<Exec>(host, request.id, std::move(*exec));
}

}  // namespace ftpd
