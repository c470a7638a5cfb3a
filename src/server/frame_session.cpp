// The frame dialect.
#include "server/frame_session.h"

#include <algorithm>

#include "base/log.h"
#include "server/server.h"

namespace ftpd {

FrameSession::FrameSession(Connection& connection)
    : connection_(connection),
      conversation_(Conversation::Side::daemon, connection.services().settings->server.max_header,
                    connection.services().settings->server.discard_limit) {}

FrameSession::~FrameSession() = default;

// --- input

void FrameSession::consume(Buffer& input, Turn& turn) {
  if (held_header_ != nullptr) {
    if (!settling().empty()) return;
    const auto text = std::move(held_header_);
    // It was parsed once already, so it parses again.
    if (const auto header = services().parser.parse(*text, false)) begin_request(*header);
  }
  while (held_header_ == nullptr && connection_.life() == Connection::Life::OPEN && turn.requests > 0) {
    if (conversation_.state() == Conversation::State::RESPOND) return;
    if (conversation_.idle() && !may_begin()) return;
    std::string_view bytes = input.unread();
    if (conversation_.state() == Conversation::State::READ_BODY && active_ != nullptr &&
        conversation_.body_remaining() > 0) {
      const std::size_t room = body_room();
      if (room == 0) return;
      bytes = bytes.substr(0, room);
    }
    const Conversation::Outcome outcome = conversation_.advance(bytes, services().parser, true);
    switch (outcome.step) {
      case Conversation::Step::need_input: input.consume(outcome.consumed); return;
      case Conversation::Step::header:
        body_at_hand_ = static_cast<std::uint32_t>(bytes.size() - outcome.consumed);
        on_header(outcome.bytes, turn);
        break;
      case Conversation::Step::body:
        if (active_ != nullptr) active_->on_body(outcome.bytes);
        break;
      case Conversation::Step::message_end: on_message_end(); break;
      case Conversation::Step::discard_over:
        connection_.close_after_output("a refused body is over discard_limit");
        break;
      case Conversation::Step::broken:
        drop_active();
        send_failure("-", RequestId{}, {.status = Status::bad_frame, .message = conversation_.problem()});
        connection_.close_after_output(conversation_.problem());
        break;
    }
    input.consume(outcome.consumed);
  }
}

bool FrameSession::may_begin() const {
  return connection_.output_has_room() && settling().size() < max_settling;
}

bool FrameSession::wants_input() const {
  if (active_ != nullptr && conversation_.state() == Conversation::State::READ_BODY &&
      conversation_.body_remaining() > 0) {
    return body_room() > 0;
  }
  if (conversation_.state() != Conversation::State::RESPOND && conversation_.idle()) return may_begin();
  return true;  // RESPOND and a held request too: up to the buffer's end, so that an end of input is seen
}

Session::SpliceTarget FrameSession::splice_target() {
  if (active_ == nullptr || body_withheld_ || conversation_.discarding() ||
      conversation_.state() != Conversation::State::READ_BODY || conversation_.body_remaining() == 0) {
    return {};
  }
  return {active_->body_pipe(),
          static_cast<std::size_t>(std::min<std::uint64_t>(conversation_.body_remaining(), 1U << 30U))};
}

void FrameSession::spliced(std::size_t count) {
  conversation_.body_taken(count);
  active_->on_spliced(count);
}

void FrameSession::on_header(std::string_view text, Turn& turn) {
  if (conversation_.continuing()) {
    if (active_ != nullptr) on_continuing(conversation_.header());
    return;
  }
  ++turn.served;
  --turn.requests;
  services().counters.requests.add();
  const auto cmd = conversation_.header().string("cmd");
  const OperationRow* const row = cmd && *cmd ? find_operation(**cmd) : nullptr;
  if (must_wait(row, conversation_.header())) {
    held_header_ = std::make_unique<std::string>(text);
    return;
  }
  begin_request(conversation_.header());
}

void FrameSession::on_continuing(const Header& header) {
  for (const std::string_view key : {"more", "abort"}) {
    const auto flag = header.boolean(key);
    if (flag) continue;
    const Failure failure = bad_request(flag.error().text);
    if (!active_->gives_up(failure)) refuse(failure);
    return;
  }
  active_->on_frame(header);
}

namespace {

/// Is one of the names the other, or a directory above it?
bool is_same_or_below(std::string_view a, std::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  return b.starts_with(a) && (b.size() == a.size() || b[a.size()] == '/');
}

}  // namespace

bool FrameSession::must_wait(const OperationRow* row, const Header& header) const {
  if (settling().empty()) return false;
  if (row == nullptr || !row->takes_file) return true;
  std::size_t memory = 0;
  for (const Settling& settling : settling()) memory += settling.operation->memory();
  if (memory > max_settling_memory) return true;
  const auto name = header.string("filename");
  if (!name || !*name || header.has("format")) return true;
  // What one makes on its way the next may need, unless it would make it itself.
  const auto parents = header.boolean("parents");
  const bool makes_its_own = parents && parents->value_or(false);
  if (!makes_its_own &&
      std::ranges::any_of(settling(), [](const Settling& s) { return s.operation->makes_directories(); })) {
    return true;
  }
  return std::ranges::any_of(
      settling(), [&](const Settling& s) { return is_same_or_below(s.operation->settles(), **name); });
}

// --- requests

void FrameSession::begin_request(const Header& header) {
  close_after_reply_ = false;
  end_of_input_told_ = false;
  body_withheld_ = false;
  row_ = nullptr;
  auto id = RequestId::from(header);
  id_ = id ? std::move(*id) : RequestId{};
  const auto close = header.boolean("close");
  if (close && *close) close_after_reply_ = **close;
  const auto more = header.boolean("more");
  const auto abort = header.boolean("abort");
  const auto cmd = header.string("cmd");
  const auto wait = header.boolean("wait");
  const OperationRow* const row = cmd && *cmd ? find_operation(**cmd) : nullptr;
  body_withheld_ = row != nullptr && row->takes_file && wait && wait->value_or(false);
  if (!id) return refuse(bad_request(id.error().text));
  if (!close) return refuse(bad_request(close.error().text));
  if (!more) return refuse(bad_request(more.error().text));
  if (!abort) return refuse(bad_request(abort.error().text));
  if (!cmd) return refuse(bad_request(cmd.error().text));
  if (!*cmd) return refuse(bad_request("cmd: missing; it names the command, such as \"ping\""));
  if (connection_.draining()) {
    close_after_reply_ = true;
    return refuse({.status = Status::shutting_down, .message = "the daemon is stopping"});
  }
  row_ = row;
  note_old_upload(header);
  if (row_ == nullptr) {
    if (known_but_not_built(**cmd)) {
      return refuse(
          {.status = Status::unsupported, .message = fmt::format("{}: not built in this version", **cmd)});
    }
    return refuse({.status = Status::unknown_command,
                   .message = fmt::format("there is no command \"{}\"; hello lists those there are", **cmd)});
  }
  run(*row_, {header, conversation_.frame(), id_, body_at_hand_});
}

void FrameSession::note_old_upload(const Header& header) {
  // Old clients announce an upload by `filesize` alone, send one after the other, read no reply and
  // close. A reply that has reached such a client by then turns its close into a reset, and what it had
  // sent but the kernel had not delivered is lost. So its replies wait until it is silent. One that does
  // read waits for its first reply: its silence shows that, and it is never made to wait again.
  const bool old = row_ != nullptr && row_->takes_file && !header.has("data_size");
  if (!old) {
    reply_patience_ms_ = 0;
  } else if (!uploads_in_old_spelling_) {
    uploads_in_old_spelling_ = true;
    reply_patience_ms_ = 10;
  } else if (reply_patience_ms_ != 0) {
    reply_patience_ms_ = 250;
  }
}

std::expected<void, Failure> FrameSession::admit(const Request& request) {
  const Right right = row_->right(request);
  if (right == Right::none) return {};
  const Caller& caller = connection_.caller();
  const Decision decision =
      decide(rules_of(caller, services().server.own_uid()), caller.peer,
             {row_->name, right, right == Right::named ? named_command_of(request) : std::string_view{}});
  switch (decision.verdict) {
    case Decision::Verdict::allowed: return {};
    case Decision::Verdict::denied:
      return std::unexpected(Failure{.status = Status::denied, .message = decision.why});
    case Decision::Verdict::auth_required:
      return std::unexpected(Failure{.status = Status::auth_required, .message = decision.why});
  }
  return {};
}

void FrameSession::run(const OperationRow& row, const Request& request) {
  if (auto admitted = admit(request); !admitted) return refuse(admitted.error());
  if (connection_.reset() && !row.lasting) {
    conversation_.answered();  // nobody reads the answer, and it would change nothing
    return;
  }
  Made made = row.make(request, *this);
  if (!made) return refuse(made.error());
  if (*made == nullptr) {
    finish();
    return;
  }
  active_ = std::move(*made);
  active_->start();
}

void FrameSession::refuse(const Failure& failure) {
  send_failure(command(), id_, failure);
  finish();
}

void FrameSession::on_message_end() {
  if (active_ == nullptr) return;
  if (conversation_.frame().abort && conversation_.continuing()) {
    active_->on_abort();
    return;
  }
  Operation& operation = *active_;
  operation.on_message_end();
  // One that still has to invite the body keeps the word, too, though there is none.
  if (active_.get() != &operation || operation.settles().empty() || close_after_reply_ || body_withheld_ ||
      connection_.draining()) {
    return;
  }
  if (settling_ == nullptr) settling_ = std::make_unique<std::vector<Settling>>();
  settling_->push_back({std::move(active_), connection_.reserve()});
  conversation_.answered();
}

void FrameSession::drop_active() {
  if (active_ == nullptr) return;
  bury(std::move(active_));
  conversation_.answered();
}

void FrameSession::bury(std::unique_ptr<Operation> operation) {
  operation->detach();
  // One of its member functions may be on the stack.
  services().reactor.defer([operation = std::move(operation)] {});
}

// --- Host

LoopServices& FrameSession::services() const { return connection_.services(); }
const Caller& FrameSession::caller() const { return connection_.caller(); }
const Address& FrameSession::peer() const { return connection_.peer(); }
void FrameSession::send(std::string&& bytes) { connection_.send(std::move(bytes)); }
void FrameSession::send(std::string_view bytes) { connection_.send(bytes); }
void FrameSession::send_file(OutQueue::FileRange range) { connection_.send_file(std::move(range)); }
std::size_t FrameSession::unsent() const { return connection_.unsent(); }
void FrameSession::close_after_reply() { close_after_reply_ = true; }
void FrameSession::resume_input() { connection_.schedule(); }

std::string_view FrameSession::command() const {
  return row_ != nullptr ? row_->name : std::string_view{"-"};
}

void FrameSession::note_failure(std::string_view command, const RequestId& id, const Failure& failure) {
  services().counters.failures.add();
  const auto level = failure.status == Status::io_error ? log::Level::error : log::Level::info;
  if (!log::enabled(level)) return;
  log::write(level, "refused",
             {{"peer", connection_.peer().text()},
              {"id", id.present() ? id.json() : std::string_view{"-"}},
              {"cmd", command},
              {"error", name(failure.status)},
              {"reason", failure.message}});
}

void FrameSession::send_failure(std::string_view command, const RequestId& id, const Failure& failure) {
  note_failure(command, id, failure);
  connection_.send(failure_reply(id, failure));
}

void FrameSession::invite_body() {
  if (!body_withheld_) return;
  body_withheld_ = false;
  JsonObject invitation = begin_reply(id_);
  invitation.add("continue", true).add("more", true);
  send(finish_reply(std::move(invitation)));
}

void FrameSession::finish() {
  if (active_ != nullptr) bury(std::move(active_));
  if (body_withheld_ && conversation_.state() == Conversation::State::READ_BODY) {
    conversation_.answered_instead_of_body();
  } else {
    conversation_.answered();
  }
  body_withheld_ = false;
  if (close_after_reply_) connection_.close_after_output("as the client asked");
  connection_.schedule();
}

void FrameSession::settle(Operation& operation, std::string reply) {
  if (active_.get() == &operation) {  // it was not needed to give up the word
    send(std::move(reply));
    finish();
    return;
  }
  const auto found =
      std::ranges::find_if(settling(), [&](const Settling& s) { return s.operation.get() == &operation; });
  if (found == settling().end()) return;
  connection_.fill(found->ticket, std::move(reply));
  bury(std::move(found->operation));
  settling_->erase(settling_->begin() + (found - settling().begin()));
  if (settling_->empty()) settling_.reset();
  connection_.schedule();
}

// --- what the connection tells

/// The body that the operation does not take yet has come whole: its client may still have said all.
bool FrameSession::rest_is_here(const Buffer& input) const {
  return conversation_.state() == Conversation::State::READ_BODY && conversation_.body_remaining() > 0 &&
         conversation_.body_remaining() <= input.unread().size() && body_room() == 0;
}

void FrameSession::on_end_of_input(Buffer& input) {
  if (held_header_ != nullptr) return;
  if (conversation_.state() == Conversation::State::RESPOND) {
    if (active_ == nullptr || end_of_input_told_) return;
    end_of_input_told_ = true;
    if (active_->on_end_of_input() == Operation::EndOfInput::gone) {
      drop_active();
      connection_.schedule();
    }
    return;
  }
  if (!conversation_.idle()) {
    // In the middle of a frame or of a message that continues: the client is gone.
    if (active_ != nullptr && (active_->keeps_taking() || rest_is_here(input))) return;
    drop_active();
  } else if (!input.empty() && !may_begin()) {
    return;
  }
  if (settling().empty() && active_ == nullptr) connection_.close_after_output("end of input");
}

void FrameSession::on_reset() {
  if (active_ != nullptr && !active_->survives_reset()) drop_active();
  // The places of settling replies went with the output queue; the operations go on to their end.
}

void FrameSession::on_output_room() {
  if (active_ != nullptr) active_->on_output_room();
}

void FrameSession::on_stall() {
  if (conversation_.idle() && active_ == nullptr) {
    // A length or header that does not become whole.
    send_failure("-", RequestId{},
                 {.status = Status::timeout, .message = "no whole header within stall_timeout"});
    return;
  }
  if (conversation_.state() == Conversation::State::RESPOND || conversation_.discarding()) return;
  if (active_ == nullptr) id_ = RequestId{};
  send_failure(command(), id_, {.status = Status::timeout, .message = "nothing came for stall_timeout"});
  drop_active();
}

void FrameSession::on_drain() {
  if (active_ != nullptr) active_->on_drain();
}

void FrameSession::on_shutdown() {
  if (active_ == nullptr) return;
  close_after_reply_ = true;  // no matter what is still to come of its message
  active_->on_shutdown();
}

Awaiting FrameSession::awaiting() const {
  if (held_header_ != nullptr || !settling().empty()) return Awaiting::nothing;
  switch (conversation_.state()) {
    case Conversation::State::READ_LEN:
      if (conversation_.idle() && !may_begin()) return Awaiting::nothing;  // we do not read on
      if (connection_.input() != nullptr && !connection_.input()->empty()) return Awaiting::header;
      // Nobody owes what would only be dropped.
      if (conversation_.idle() || conversation_.discarding()) return Awaiting::request;
      return active_ != nullptr && !active_->owed_input() ? Awaiting::nothing : Awaiting::body;
    case Conversation::State::READ_HEADER: return Awaiting::header;
    case Conversation::State::READ_BODY: return Awaiting::body;
    case Conversation::State::RESPOND: return Awaiting::nothing;
  }
  return Awaiting::nothing;
}

bool FrameSession::idle() const {
  return conversation_.idle() && active_ == nullptr && settling().empty() && held_header_ == nullptr;
}

}  // namespace ftpd
