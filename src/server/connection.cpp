// One client's connection: the pump between its socket and its session, and its life.
#include "server/connection.h"

#include <sys/epoll.h>

#include <array>

#include "base/log.h"
#include "base/sys.h"
#include "ftpd/text_line.h"
#include "server/frame_session.h"
#include "server/server.h"
#include "server/text_session.h"
#include "server/worker.h"

namespace ftpd {
namespace {

// Only errors and hang-ups, which epoll(7) reports unasked: edge-triggered with nothing else, so that
// a half-closed peer does not wake the loop again and again.
constexpr std::uint32_t errors_only = EPOLLET;

constexpr Duration closing_time = std::chrono::seconds{2};

// What a session is shown while the connection holds no buffer.
thread_local Buffer no_input{0};

}  // namespace

std::string_view name(Connection::Life life) {
  switch (life) {
    case Connection::Life::OPEN: return "OPEN";
    case Connection::Life::FLUSHING: return "FLUSHING";
    case Connection::Life::CLOSING: return "CLOSING";
    case Connection::Life::GONE: return "GONE";
  }
  return "";
}

Connection::Connection(Worker& worker, UniqueFd socket, Address peer, Caller caller)
    : worker_(worker),
      stream_(std::move(socket)),
      peer_(std::move(peer)),
      caller_(std::move(caller)),
      timer_(worker.services().reactor, Callback<void()>::to<&Connection::on_timer>(*this)),
      task_(worker.services().reactor, Callback<void()>::to<&Connection::pump>(*this)),
      since_(worker.services().reactor.now()) {}

Connection::~Connection() = default;

LoopServices& Connection::services() const { return worker_.services(); }

Result<void> Connection::start() {
  stream_.configure();
  if (auto watched = watch_.start(services().reactor, stream_.fd(), EPOLLIN,
                                  Watch::Handler::to<&Connection::on_ready>(*this));
      !watched) {
    return watched;
  }
  // Most clients have sent something by the time they are accepted: look at once.
  pump();
  return {};
}

void Connection::set_life(Life life) {
  if (log::enabled(log::Level::debug)) {
    log::write(log::Level::debug, "connection",
               {{"peer", peer_.text()}, {"from", name(life_)}, {"to", name(life)}});
  }
  life_ = life;
}

// --- events

void Connection::on_ready(std::uint32_t events) {
  if ((events & (EPOLLHUP | EPOLLERR)) != 0 && life_ != Life::CLOSING) {
    // Both directions are over. The input that came before is still there to be read.
    readable_ = true;
    if (!reset_) lose("the peer reset the connection");
  }
  if ((events & EPOLLIN) != 0) readable_ = true;
  if ((events & EPOLLOUT) != 0) blocked_ = false;
  if (life_ == Life::OPEN) {
    Turn turn;
    serve(turn);
    note_progress(turn);
  }
  // Replies leave when the whole batch of events has been served: peers that are woken together cost
  // less than peers that are woken one by one.
  schedule();
}

void Connection::on_timer() {
  timer_deadline_ = never;
  const TimePoint now = services().reactor.now();
  if (!out_.empty() && session_ != nullptr && session_->reply_patience() != Duration::zero() &&
      !replies_wait()) {
    session_->on_silence();
    pump();
    return;
  }
  if (now < deadline()) {
    rest();
    return;
  }
  if (now < peer_deadline()) {
    pump();  // the rate lets something through
    return;
  }
  if (life_ == Life::CLOSING) {
    die();
    return;
  }
  const bool idle = out_.empty() && awaiting_ == Awaiting::request;
  if (!idle && session_ != nullptr && life_ == Life::OPEN && !reset_) session_->on_stall();
  close_after_output(idle ? "idle_timeout" : "stall_timeout");
  if (!out_.empty() && blocked_) {
    die();  // a peer that does not take what it was sent will not take the rest either
    return;
  }
  pump();
}

void Connection::pump() {
  if (life_ == Life::GONE) return;
  if (life_ == Life::CLOSING) {
    discard_input();
    if (life_ == Life::CLOSING) rest();
    return;
  }
  Turn turn;
  serve(turn);
  const bool stopped_for_fairness = turn.over();
  if (draining() && (session_ == nullptr || session_->idle()) && !has_input() && !reading_waits()) {
    close_after_output("the daemon stops");
  }
  flush(turn);
  note_progress(turn);
  const bool all_is_done = reset_ ? session_ == nullptr || session_->settled() : out_.empty();
  if (life_ == Life::FLUSHING && all_is_done) begin_closing();
  if (life_ == Life::GONE) return;
  if (stopped_for_fairness || (life_ == Life::OPEN && readable_ && reads_now())) schedule();
  rest();
}

// --- input

void Connection::serve(Turn& turn) {
  serving_ = true;
  bool again = life_ == Life::OPEN;
  while (again) {
    again = false;
    if (session_ == nullptr) decide_dialect();
    if (session_ != nullptr && life_ == Life::OPEN) {
      Buffer& input = input_ != nullptr ? *input_ : no_input;
      const std::size_t before = input.unread().size();
      session_->consume(input, turn);
      again = input.unread().size() != before;
    }
    if (life_ != Life::OPEN || turn.over()) break;
    if (read_some(turn)) again = true;
  }
  if (life_ == Life::OPEN && input_ended_ && session_ != nullptr && !turn.over()) {
    session_->on_end_of_input(input_ != nullptr ? *input_ : no_input);
  }
  serving_ = false;
  if (input_ != nullptr && !has_input()) services().buffers.give_back(std::move(input_));
}

bool Connection::wants_input() const {
  if (input_ended_ || life_ != Life::OPEN) return false;
  if (input_ != nullptr && input_->unread().size() >= input_->capacity()) return false;
  return session_ == nullptr || session_->wants_input();
}

bool Connection::read_some(Turn& turn) {
  if (!readable_ || !wants_input()) return false;
  const std::size_t most = may_receive();
  return most > 0 && read_at_most(most, turn);
}

bool Connection::read_at_most(std::size_t most, Turn& turn) {
  LoopServices& services = this->services();
  Moved moved;
  std::size_t asked = 0;
  const auto target =
      session_ != nullptr && !has_input() ? session_->splice_target() : Session::SpliceTarget{};
  if (target.pipe != nullptr) {
    asked = std::min({target.size, target.pipe->capacity, most});
    moved = stream_.splice_to_pipe(target.pipe->write_end.get(), asked);
    if (moved.how == Moved::How::some) {
      target.pipe->held += moved.count;
      session_->spliced(moved.count);
      asked = 0;  // a short splice says nothing about what is left in the socket
    }
  } else {
    if (input_ == nullptr) input_ = services.buffers.borrow();
    input_->compact();
    asked = std::min(input_->room().size(), most);
    moved = stream_.read(input_->room().first(asked));
    if (moved.how == Moved::How::some) input_->filled(moved.count);
  }
  switch (moved.how) {
    case Moved::How::some:
      turn.spend(moved.count);
      services.counters.bytes_received.add(moved.count);
      if (is_paced()) pace().receiving.spend(moved.count);
      // epoll tells when more comes; after a reset it tells nothing more, and the end is still to be read.
      if (moved.count < asked && !reset_) readable_ = false;
      return true;
    case Moved::How::blocked:
      readable_ = false;
      if (!reset_) return false;
      input_ended_ = true;  // a write has failed: nobody would wait for what comes later
      return true;
    case Moved::How::ended: input_ended_ = true; return true;
    case Moved::How::failed:
      input_ended_ = true;
      if (!reset_) lose("the peer reset the connection");
      return true;
  }
  return false;
}

bool Connection::read_once_more() {
  // Not at the role's rate: while that made the rest of a line wait, the line would be taken for whole.
  Turn turn;
  readable_ = true;
  return wants_input() && read_at_most(limits::read_ahead, turn);
}

void Connection::decide_dialect() {
  const ListenSettings& listener = *caller_.listener;
  Dialect dialect = Dialect::undecided;
  switch (listener.dialect) {
    case DialectChoice::frame: dialect = Dialect::frame; break;
    case DialectChoice::text: dialect = Dialect::text; break;
    case DialectChoice::both:
      dialect = sniff_dialect(input_ != nullptr ? input_->unread() : std::string_view{}, input_ended_);
      break;
  }
  switch (dialect) {
    case Dialect::undecided: return;
    case Dialect::frame: session_ = std::make_unique<FrameSession>(*this); return;
    case Dialect::text: session_ = std::make_unique<TextSession>(*this); return;
  }
}

// --- life

void Connection::close_after_output(std::string_view reason) {
  if (life_ != Life::OPEN) return;
  log::write(log::Level::debug, "closing", {{"peer", peer_.text()}, {"reason", reason}});
  set_life(Life::FLUSHING);
  if (!serving_) schedule();
}

void Connection::lose(std::string_view reason) {
  reset_ = true;
  log::write(log::Level::debug, "lost", {{"peer", peer_.text()}, {"reason", reason}});
  if (warming_ != nullptr) warming_->abandon();
  out_ = OutQueue{};
  pace_.reset();
  bulk_ = false;
  blocked_ = false;
  if (session_ != nullptr) session_->on_reset();
}

void Connection::begin_closing() {
  session_.reset();
  if (reset_ || input_ended_) {
    stream_.end_sending();
    die();
    return;
  }
  set_life(Life::CLOSING);
  stream_.end_sending();
  since_ = services().reactor.now();
  readable_ = true;
  discard_input();
}

void Connection::discard_input() {
  Turn turn;
  std::array<char, 16 * 1024> scratch;
  while (!turn.over()) {
    const Moved moved = stream_.read(scratch);
    switch (moved.how) {
      case Moved::How::some: turn.spend(moved.count); continue;
      case Moved::How::blocked: return;
      case Moved::How::ended:
      case Moved::How::failed: die(); return;
    }
  }
  schedule();
}

void Connection::die() {
  if (life_ == Life::GONE) return;
  set_life(Life::GONE);
  watch_.stop();
  timer_.disarm();
  task_.cancel();
  worker_.release(*this);
}

void Connection::refuse(const Failure& failure) {
  send(caller_.listener->dialect == DialectChoice::text ? failure_line(failure)
                                                        : failure_reply(RequestId{}, failure));
  close_after_output("over a limit of connections");
}

void Connection::drain() {
  if (draining_ || life_ != Life::OPEN) return;
  draining_ = true;
  readable_ = true;  // what had arrived by now is answered, if only with `shutting_down`
  if (session_ != nullptr && !reset_) session_->on_drain();
  pump();
}

bool Connection::draining() const { return draining_ || services().server.draining(); }

void Connection::shut_down() {
  if (life_ == Life::OPEN && session_ != nullptr && !reset_) session_->on_shutdown();
  pump();  // it drains, so it closes as soon as nothing is under way
}

// --- what we wait for

std::uint32_t Connection::interest() const {
  if (life_ == Life::CLOSING) return EPOLLIN;
  if (reset_) return 0;
  std::uint32_t events = 0;
  if (reads_now()) events |= EPOLLIN;
  if (blocked_ && !out_.empty()) events |= EPOLLOUT;
  return events != 0 ? events : errors_only;
}

TimePoint Connection::deadline() const {
  if (pace_ == nullptr) return peer_deadline();
  return std::min({peer_deadline(), pace_->receiving.again(), pace_->sending.again()});
}

TimePoint Connection::peer_deadline() const {
  const ServerSettings& server = services().settings->server;
  if (life_ == Life::CLOSING) return since_ + closing_time;
  if (blocked_ && !out_.empty()) return deadline_after(since_, server.stall_timeout);
  if (!out_.empty() && replies_wait()) return more_at_hand() ? never : since_ + session_->reply_patience();
  if (reset_) return never;           // what is still under way ends by itself
  if (reading_waits()) return never;  // it is not the peer who is late
  switch (awaiting_) {
    case Awaiting::request: return out_.empty() ? deadline_after(since_, server.idle_timeout) : never;
    case Awaiting::header:
    case Awaiting::body: return wants_input() ? deadline_after(since_, server.stall_timeout) : never;
    case Awaiting::nothing: return never;
  }
  return never;
}

void Connection::note_progress(const Turn& turn) {
  const Awaiting before = awaiting_;
  awaiting_ = session_ != nullptr ? session_->awaiting() : has_input() ? Awaiting::header : Awaiting::request;
  // A header has to be whole in one stall_timeout from its first byte, so that bytes that drip do not
  // count there.
  const bool same_header = before == Awaiting::header && awaiting_ == before && turn.served == 0;
  // Time in which we did not read is no delay of the peer's.
  const bool reads = reads_now();
  const bool reads_again = reads && !wanted_input_;
  wanted_input_ = reads;
  if (before != awaiting_ || reads_again || (turn.moved && !same_header)) since_ = services().reactor.now();
}

void Connection::rest() {
  if (pace_ != nullptr) settle_pace();
  watch_.set_interest(interest());
  const TimePoint wanted = deadline();
  // A timer that fires early finds out and is armed again: cheaper than moving it with each request.
  if (wanted < timer_deadline_) {
    timer_.arm(wanted);
    timer_deadline_ = wanted;
  }
}

}  // namespace ftpd
