// The verb exec: a command over there with our standard input, output and error.
#include "client/remote_exec.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "client/refusal.h"
#include "client/text.h"
#include "client/verbs.h"
#include "ftpd/json_write.h"

namespace ftpd::client {
namespace {

// What a JSON result may hold of each stream.
constexpr std::size_t most_collected = 256U << 20U;

std::string json_array(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) {
    if (out.size() > 1) out += ',';
    append_json_string(out, word);
  }
  return out += ']';
}

std::string json_map(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string out = "{";
  for (const auto& [key, value] : pairs) {
    if (out.size() > 1) out += ',';
    append_json_string(out, key);
    out += ':';
    append_json_string(out, value);
  }
  return out += '}';
}

/// Adds text under `key`, or its bytes under `key_base64`.
void add_output(JsonObject& object, std::string_view key, std::string_view key_base64,
                std::string_view bytes) {
  if (simdjson::validate_utf8(bytes.data(), bytes.size())) {
    object.add(key, bytes);
  } else {
    object.add(key_base64, base64(bytes));
  }
}

class ExecTask final : public Task {
 public:
  ExecTask(const Session& session, Input input) : session_(session), input_(input) {}

  Outcome<Supply> supply(Connection& connection) override {
    if (!sent_) {
      connection.request(exec_request(session_.options, input_));
      sent_ = true;
      return Supply::queued;
    }
    if (input_ == Input::none) return Supply::replies;
    return feed(connection);
  }
  int input_fd() const override { return STDIN_FILENO; }

  Outcome<void> header(const Header& header) override {
    const auto stream = header.string("stream");
    if (stream && *stream) {
      target_ = **stream == "stderr" ? STDERR_FILENO : STDOUT_FILENO;
      first_size_ = limits::max_size;
      return {};
    }
    return last_header(header);
  }

  Outcome<Next> body(std::string_view bytes) override {
    const std::size_t first = std::min<std::uint64_t>(bytes.size(), first_size_);
    first_size_ -= first;
    auto done = output(target_, bytes.substr(0, first));
    if (done) done = output(STDERR_FILENO, bytes.substr(first));
    if (!done) return std::unexpected(done.error());
    return Next::go_on;
  }

  Outcome<Next> end() override {
    if (session_.report.json()) {
      JsonObject extra;
      add_output(extra, "stdout", "stdout_base64", stdout_);
      add_output(extra, "stderr", "stderr_base64", stderr_);
      session_.report.print_result({}, reply_, std::move(extra).take());
    }
    return Next::stop;
  }

  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] const std::optional<Failure>& refusal() const { return refusal_; }
  [[nodiscard]] bool truncated() const { return truncated_; }

 private:
  /// One piece of standard input, if there is one now.
  Outcome<Supply> feed(Connection& connection) {
    pollfd watched{STDIN_FILENO, POLLIN, 0};
    if (sys::poll(&watched, 1, 0) < 0) return system_failure(errno, "poll");
    if (watched.revents == 0) return Supply::waiting;
    std::array<char, 64U * 1024> piece;
    const ssize_t count = sys::read(STDIN_FILENO, piece.data(), piece.size());
    if (count < 0 && errno == EAGAIN) return Supply::waiting;
    if (count < 0) return system_failure(errno, "standard input");
    JsonObject frame;
    if (count > 0) frame.add("more", true);
    frame.add("data_size", std::uint64_t(count));
    connection.frame(std::move(frame).take());
    connection.body({piece.data(), static_cast<std::size_t>(count)});
    if (count == 0) input_ = Input::none;
    return Supply::queued;
  }

  Outcome<void> last_header(const Header& header) {
    const auto refusal = Refusal::from(header);
    if (!refusal) return std::unexpected(refusal.error());
    if (*refusal) {
      refusal_ = (*refusal)->failure();
      status_ = exit_refused;
    } else {
      const auto status = exec_status(header);
      if (!status) return std::unexpected(status.error());
      status_ = *status;
    }
    const auto size = header.size("stdout_size");
    target_ = STDOUT_FILENO;
    first_size_ = size && *size ? **size : limits::max_size;
    const auto truncated = header.boolean("truncated");
    truncated_ = truncated && truncated->value_or(false);
    if (session_.report.json()) reply_ = simdjson::minify(header.object());
    return {};
  }

  Outcome<void> output(int target, std::string_view bytes) {
    const bool errors = target == STDERR_FILENO;
    if (!session_.report.json()) {
      return write_all(target, bytes, errors ? "standard error" : "standard output");
    }
    std::string& collected = errors ? stderr_ : stdout_;
    if (collected.size() + bytes.size() > most_collected) {
      return local_failure("more output than fits into one JSON result (256 MiB)");
    }
    collected += bytes;
    return {};
  }

  const Session& session_;
  Input input_;
  bool sent_ = false;
  bool truncated_ = false;
  int target_ = STDOUT_FILENO;
  std::uint64_t first_size_ =
      limits::max_size;  // bytes of the body that belong to target_; the rest is stderr
  int status_ = exit_broken;
  std::optional<Failure> refusal_;
  std::string reply_;
  std::string stdout_;
  std::string stderr_;
};

/// As ssh does: forwarded unless it is a terminal, or closed, or -n says so.
Input input_for(const Options& options) {
  if (options.standard_input == StandardInput::none || ::isatty(STDIN_FILENO) == 1) return Input::none;
  return sys::fcntl(STDIN_FILENO, F_GETFD) == -1 ? Input::none : Input::frames;
}

}  // namespace

std::string exec_request(const Options& options, Input input) {
  JsonObject request;
  request.add("cmd", "exec");
  if (options.shell_line) {
    request.add("command", *options.shell_line);
  } else {
    request.add_json("argv", json_array(options.operands));
  }
  if (options.cwd) request.add("cwd", *options.cwd);
  if (!options.environment.empty()) request.add_json("env", json_map(options.environment));
  if (options.timeout) request.add("timeout_ms", std::int64_t{options.timeout->count()});
  // We never shut down our sending side while we wait, so an end of input means that we are gone.
  request.add("on_eof", "kill");
  // Output as it comes; as one JSON result it is told when all of it is there.
  if (options.form != Form::json) request.add("stream", true);
  if (input == Input::frames) request.add("more", true);
  request.add("data_size", 0);
  return std::move(request).take();
}

Outcome<int> exec_status(const Header& last) {
  const auto reason = last.string("reason");
  const auto exit = last.integer("exit", 0, 255);
  const auto signal = last.string("signal");
  const std::string_view why = reason && *reason ? **reason : std::string_view{};
  if (why == "exited" && exit && *exit) return static_cast<int>(**exit);
  if (why == "signalled" && signal && *signal) return 128 + signal_number(**signal);
  if (why == "out_of_memory") return 128 + SIGKILL;
  return connection_failure("a reply to exec that does not say how the command ended");
}

Outcome<int> run_exec(const Session& session) {
  auto connection = connect(session);
  if (!connection) return std::unexpected(connection.error());
  (*connection)->set_patience(Duration::zero());  // a command may be silent for days
  ExecTask task{session, input_for(session.options)};
  const auto done = (*connection)->run(task);
  if (!done) return std::unexpected(done.error());
  if (task.truncated()) session.report.note({}, "the output was cut at the server's max_output");
  if (task.refusal()) session.report.explain({}, *task.refusal());
  return task.status();
}

}  // namespace ftpd::client
