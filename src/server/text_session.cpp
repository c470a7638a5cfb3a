// The text dialect.
#include "server/text_session.h"

#include <limits>

#include "base/log.h"
#include "ftpd/conversation.h"
#include "ftpd/json_write.h"
#include "server/command_request.h"
#include "server/server.h"

namespace ftpd {

TextSession::TextSession(Connection& connection)
    : connection_(connection),
      lines_(connection.services().settings->server.max_header),
      idle_clock_(connection.services().reactor, Callback<void()>::to<&TextSession::on_idle>(*this)) {}

// --- lines

void TextSession::consume(Buffer& input, Turn& turn) {
  while (run_ == nullptr && connection_.life() == Connection::Life::OPEN && turn.requests > 0 &&
         connection_.output_has_room()) {
    const TextLines::Outcome outcome = lines_.advance(input.unread());
    const bool acted = act(outcome);
    input.consume(outcome.consumed);
    if (!acted) break;
    ++turn.served;
    --turn.requests;
  }
  mind_the_clock(input.unread());
}

void TextSession::mind_the_clock(std::string_view unread) {
  if (run_ != nullptr || !lines_.idle_clock_runs(unread)) {
    idle_clock_.disarm();
    clock_set_at_ = 0;
    return;
  }
  if (unread.size() == clock_set_at_) return;  // nothing came: it goes on running
  clock_set_at_ = unread.size();
  LoopServices& services = connection_.services();
  idle_clock_.arm(deadline_after(services.reactor.now(), services.settings->server.text_idle));
}

void TextSession::on_idle() {
  clock_set_at_ = 0;
  if (run_ != nullptr || connection_.life() != Connection::Life::OPEN) return;
  const bool more_came = connection_.read_once_more();
  Buffer* const input = connection_.input();
  if (!more_came && input != nullptr) {
    const TextLines::Outcome outcome = lines_.finish(input->unread());
    act(outcome);
    input->consume(outcome.consumed);
  }
  connection_.schedule();
}

bool TextSession::act(const TextLines::Outcome& outcome) {
  switch (outcome.step) {
    case TextLines::Step::need_input: return false;
    case TextLines::Step::line: run_line(outcome.line); return true;
    case TextLines::Step::http:
      refuse_and_close({.status = Status::bad_request, .message = "this is no web server; nothing was run"});
      return false;
    case TextLines::Step::too_long:
      refuse_and_close({.status = Status::too_large,
                        .message = fmt::format("a line has at most {} bytes",
                                               connection_.services().settings->server.max_header)});
      return false;
    case TextLines::Step::not_text: {
      const Failure failure{.status = Status::bad_frame,
                            .message = "neither a frame nor a line of text (UTF-8, no control characters)"};
      note(failure);
      connection_.send(failure_reply(RequestId{}, failure));
      connection_.close_after_output("neither frame nor text");
      return false;
    }
  }
  return false;
}

void TextSession::run_line(std::string_view line) {
  LoopServices& services = connection_.services();
  services.counters.requests.add();
  if (line == "quit") return connection_.close_after_output("quit");
  if (connection_.draining()) {
    return refuse_and_close({.status = Status::shutting_down, .message = "the daemon is stopping"});
  }
  const Caller& caller = connection_.caller();
  const Decision decision =
      decide(rules_of(caller, services.server.own_uid()), caller.peer, {"exec", Right::shell});
  if (decision.verdict != Decision::Verdict::allowed) {
    return say(
        {.status = decision.verdict == Decision::Verdict::denied ? Status::denied : Status::auth_required,
         .message = decision.why});
  }
  if (connection_.reset()) return;  // nobody reads the answer: not started
  auto directory = caller.role->store->open_directory(RelPath::root());
  if (!directory) return say(failure_of(directory.error()));
  const bool live = caller.listener->text_reply == TextReply::plain;
  line_ = line;
  Command command{.argv = with_runner(*caller.role, shell_argv(line)),
                  .environment = environment_of(*caller.role, {}),
                  .directory = std::move(*directory),
                  .merge = live};
  run_ = std::make_unique<CommandRun>(
      services, *this,
      CommandRun::Plan{.command = std::move(command),
                       .role = caller.role,
                       .timeout = run_timeout(*caller.role, std::nullopt),
                       .output = live ? CommandRun::Output::live : CommandRun::Output::kept});
  run_->start();
}

// --- answers

void TextSession::note(const Failure& failure) {
  connection_.services().counters.failures.add();
  log::write(log::Level::info, "refused",
             {{"peer", connection_.peer().text()},
              {"cmd", "text"},
              {"error", name(failure.status)},
              {"reason", failure.message}});
}

void TextSession::say(const Failure& failure) {
  note(failure);
  reply(failure_line(failure));
}

void TextSession::reply(std::string bytes) {
  switch (connection_.caller().listener->text_reply) {
    case TextReply::plain: break;
    case TextReply::length: {
      std::string length;
      append_length(length, static_cast<std::uint32_t>(bytes.size()));
      connection_.send(std::move(length));
      break;
    }
    case TextReply::json: {
      JsonObject header;
      header.add("data_size", std::uint64_t{bytes.size()});
      std::string frame;
      append_frame(frame, std::move(header).take());
      connection_.send(std::move(frame));
      break;
    }
  }
  if (!bytes.empty()) connection_.send(std::move(bytes));
}

void TextSession::refuse_and_close(const Failure& failure) {
  say(failure);
  connection_.close_after_output(failure.message);
}

void TextSession::on_run_failed(const Failure& failure) {
  drop_run();
  say(failure);
}

void TextSession::on_run_output(OutputStream /*stream*/, std::string_view bytes) {
  connection_.send(std::string(bytes));
  if (connection_.unsent() > Host::output_high) run_->pause_output();
}

void TextSession::on_run_end(const RunEnd& end) {
  log_command(connection_.peer(), line_, end);
  std::string own_words;
  switch (end.reason) {
    case RunReason::exited:
    case RunReason::signalled: break;
    case RunReason::timeout:
      own_words = failure_line({.status = Status::timeout, .message = "the command ran over its time"});
      break;
    case RunReason::cancelled:
      own_words = failure_line({.status = Status::aborted, .message = "called off"});
      break;
    case RunReason::shutdown:
      own_words = failure_line({.status = Status::shutting_down, .message = "the daemon is stopping"});
      break;
  }
  if (connection_.caller().listener->text_reply == TextReply::plain) {
    if (!own_words.empty()) connection_.send(std::move(own_words));
    drop_run();
    return;
  }
  if (!own_words.empty()) static_cast<void>(run_->stderr_spool().append(own_words));
  Spool& spool = run_->stderr_spool().size() > 0 ? run_->stderr_spool() : run_->stdout_spool();
  if (!spool.in_file()) {
    reply(spool.take_memory());
  } else {
    send_spooled(spool);
  }
  drop_run();
}

void TextSession::send_spooled(const Spool& spool) {
  OutQueue::FileRange range = spool.file();
  std::string head;
  if (connection_.caller().listener->text_reply == TextReply::length) {
    // The length is a signed 32-bit number: more than that can't be told.
    range.size = std::min<std::uint64_t>(range.size, std::numeric_limits<std::int32_t>::max());
    append_length(head, static_cast<std::uint32_t>(range.size));
  } else {
    JsonObject header;
    header.add("data_size", range.size);
    append_frame(head, std::move(header).take());
  }
  connection_.send(std::move(head));
  connection_.send_file(std::move(range));
}

void TextSession::drop_run() {
  if (run_ != nullptr) {
    run_->detach();
    connection_.services().reactor.defer([run = std::move(run_)] {});
  }
  connection_.schedule();
}

// --- what the connection tells

void TextSession::on_end_of_input(Buffer& input) {
  if (run_ != nullptr || !connection_.output_has_room()) return;
  const TextLines::Outcome outcome = lines_.finish(input.unread());
  const bool acted = act(outcome);
  input.consume(outcome.consumed);
  if (acted) {
    connection_.schedule();
  } else {
    connection_.close_after_output("end of input");
  }
}

void TextSession::on_reset() { drop_run(); }

void TextSession::on_output_room() {
  if (run_ != nullptr) run_->resume_output();
}

void TextSession::on_stall() {
  if (run_ == nullptr) say({.status = Status::timeout, .message = "no whole line within stall_timeout"});
}

void TextSession::on_shutdown() {
  if (run_ != nullptr) run_->end_early(RunReason::shutdown);
}

Awaiting TextSession::awaiting() const {
  if (run_ != nullptr) return Awaiting::nothing;
  return connection_.input() != nullptr && !connection_.input()->empty() ? Awaiting::header
                                                                         : Awaiting::request;
}

}  // namespace ftpd
