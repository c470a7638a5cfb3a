// What the client says: results on standard output, everything else on standard error.
#include "client/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/sys.h"
#include "client/text.h"

namespace ftpd::client {
namespace {

constexpr std::size_t enough = 64U * 1024;

bool is_framing(std::string_view key) {
  constexpr std::array<std::string_view, 4> keys{"ok", "data_size", "more", "id"};
  return std::ranges::find(keys, key) != keys.end();
}

std::string value_text(std::string_view key, simdjson::dom::element value) {
  std::string_view text;
  if (value.get_string().get(text) == simdjson::SUCCESS) return printable(text);
  std::uint64_t mode = 0;
  if (key == "mode" && value.get_uint64().get(mode) == simdjson::SUCCESS) return fmt::format("{:04o}", mode);
  double time = 0;
  if (key == "mtime" && value.get_double().get(time) == simdjson::SUCCESS) return human_date(time);
  return printable(simdjson::minify(value));
}

/// `line` and `json` are objects: the members of the second join the first.
void append_members(std::string& line, std::string_view json) {
  if (json.size() <= 2) return;
  line.back() = ',';
  line.append(json, 1);
}

}  // namespace

Outcome<void> write_all(int fd, std::string_view bytes, std::string_view what) {
  while (!bytes.empty()) {
    const ssize_t count = sys::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EAGAIN) {
      // Someone who shares the descriptor has made it non-blocking.
      pollfd watched{fd, POLLOUT, 0};
      if (sys::poll(&watched, 1, -1) < 0) return system_failure(errno, what);
      continue;
    }
    if (count < 0 && errno == EPIPE) {
      // Nobody reads any more: a filter ends here without a word. Only for sockets is the signal ignored.
      std::signal(SIGPIPE, SIG_DFL);
      sys::kill(::getpid(), SIGPIPE);
    }
    if (count < 0) return system_failure(errno, what);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

void Report::print(std::string_view text) {
  out_ += text;
  if (out_.size() >= enough) written_ = flush();
}

Outcome<void> Report::flush() {
  if (!out_.empty() && written_) {
    progress_.clear();
    written_ = write_all(STDOUT_FILENO, out_, "standard output");
  }
  out_.clear();
  return written_;
}

void Report::print_result(std::string_view subject, std::string_view reply_json,
                          std::string_view extra_json) {
  JsonObject ours;
  ours.add("verb", name(options_.verb));
  if (!subject.empty()) ours.add("subject", subject);
  std::string line = std::move(ours).take();
  append_members(line, reply_json);
  append_members(line, extra_json);
  print(line + "\n");
}

void Report::print_fields(simdjson::dom::object object) {
  for (const auto field : object) {
    if (!is_framing(field.key)) {
      print(fmt::format("{}: {}\n", printable(field.key), value_text(field.key, field.value)));
    }
  }
}

void Report::failed(std::string_view subject, const Failure& failure, std::string_view reply_json) {
  if (json()) {
    JsonObject own;
    const bool connection = failure.who == Failure::Who::connection;
    own.add("ok", false).add("error", connection ? "connection" : "local").add("message", failure.text);
    print_result(subject, reply_json.empty() ? std::move(own).take() : std::string{reply_json});
  }
  explain(subject, failure);
}

void Report::explain(std::string_view subject, const Failure& failure) {
  status_ = std::max(status_, failure.exit_status());
  const bool alone = subject.empty() && failure.who == Failure::Who::connection;
  alone ? say_line(failure.text) : say(subject, failure.text);
}

void Report::note(std::string_view subject, std::string_view text) {
  if (options_.talk == Talk::normal) say(subject, text);
}

void Report::say(std::string_view subject, std::string_view text) {
  say_line(
      fmt::format("{}{}{}: {}", name(options_.verb), subject.empty() ? "" : " ", printable(subject), text));
}

void Report::say_line(std::string_view line) {
  progress_.clear();
  // Where even that can't be written there is nobody to tell.
  (void)write_all(STDERR_FILENO, fmt::format("ftpc: {}\n", line), "standard error");
}

}  // namespace ftpd::client
