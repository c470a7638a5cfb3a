// What a connection sends: how replies are queued, when they leave, how much each turn, at what rate.
#include <array>

#include "base/log.h"
#include "base/sys.h"
#include "server/connection.h"

namespace ftpd {

void Connection::send(std::string&& bytes) {
  if (!takes_output()) return;
  out_.push(std::move(bytes));
  if (!serving_) schedule();
}

void Connection::send(std::string_view bytes) {
  if (!takes_output()) return;
  out_.push(bytes);
  if (!serving_) schedule();
}

void Connection::send_file(OutQueue::FileRange range) {
  if (!takes_output()) return;
  out_.push_file(std::move(range));
  bulk_ = true;
  if (!serving_) schedule();
}

void Connection::fill(OutQueue::Ticket ticket, std::string bytes) {
  if (!takes_output()) return;
  out_.fill(ticket, std::move(bytes));
  if (!serving_) schedule();
}

bool Connection::output_has_room() const {
  return !bulk_ && out_.memory() <= services().settings->server.reply_queue;
}

bool Connection::can_flush() const {
  const bool file_is_cold = warming_ != nullptr && warming_->pending();
  return !out_.empty() && !blocked_ && !reset_ && !file_is_cold && !replies_wait();
}

void Connection::flush(Turn& turn) {
  if (out_.memory() > Host::output_high) output_was_high_ = true;
  if (!can_flush()) return;
  const std::size_t most = may_send();
  if (most == 0) return;
  turn.bytes = std::max<std::size_t>(turn.bytes, 64 * 1024);  // reading never starves writing
  const bool had_room = output_has_room();
  const std::uint64_t before = out_.sent();
  const OutQueue::Progress progress = out_.drain(stream_, std::min(turn.bytes, most));
  turn.spend(static_cast<std::size_t>(out_.sent() - before));
  if (is_paced()) {
    pace().sending.spend(static_cast<std::size_t>(out_.sent() - before));
    if (progress != OutQueue::Progress::budget) pace().sending.leave();
  }
  services().counters.bytes_sent.add(out_.sent() - before);
  switch (progress) {
    case OutQueue::Progress::empty: bulk_ = false; break;
    case OutQueue::Progress::blocked:
      blocked_ = true;
      // Before, it was perhaps the rate that kept us from sending: the peer's time begins now.
      if (is_paced()) since_ = services().reactor.now();
      break;
    case OutQueue::Progress::waiting: break;
    case OutQueue::Progress::cold: warm_front_file(); break;
    case OutQueue::Progress::budget:
      if (may_send() > 0) schedule();
      break;
    case OutQueue::Progress::file_short:
      // The promise of data_size can't be kept, and nothing may be made up in its place.
      log::write(log::Level::warning, "closing",
                 {{"peer", peer_.text()}, {"reason", "a file shrank while it was sent"}});
      die();
      return;
    case OutQueue::Progress::failed:
      readable_ = true;
      lose("a write failed");
      schedule();
      return;
  }
  if (output_was_high_ && out_.memory() <= Host::output_high / 2) {
    output_was_high_ = false;
    if (session_ != nullptr) session_->on_output_room();
  }
  if (!had_room && output_has_room()) schedule();
}

bool Connection::replies_wait() const {
  if (life_ != Life::OPEN || input_ended_ || session_ == nullptr) return false;
  const Duration patience = session_->reply_patience();
  if (patience == Duration::zero() || out_.memory() > services().settings->server.reply_queue / 2)
    return false;
  return more_at_hand() || services().reactor.now() < since_ + patience;
}

bool Connection::more_at_hand() const {
  if (reading_waits()) return true;
  return has_input() && (session_->awaiting() == Awaiting::nothing || !session_->wants_input());
}

// --- the rate of the role

Connection::Pace& Connection::pace() {
  if (pace_ == nullptr) {
    pace_.reset(new Pace{Pacer::Claim{caller_.role->receiving}, Pacer::Claim{caller_.role->sending}});
  }
  return *pace_;
}

std::size_t Connection::may_receive() {
  return is_paced() ? pace().receiving.allowance(services().reactor.now()) : SIZE_MAX;
}

std::size_t Connection::may_send() {
  return is_paced() ? pace().sending.allowance(services().reactor.now()) : SIZE_MAX;
}

/// What it can't use now is for the others, and an idle connection holds nothing.
void Connection::settle_pace() {
  if (!readable_ || !wants_input()) pace_->receiving.leave();
  if (!can_flush()) pace_->sending.leave();
  const bool idle = awaiting_ == Awaiting::request && out_.empty() && !pace_->receiving.active();
  if (idle) pace_.reset();
}

void Connection::warm_front_file() {
  const OutQueue::FileRange range = out_.front_file();
  const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(range.size, OutQueue::warm_size));
  auto job = services().pool.submit(
      services().reactor,
      [range, size] {
        // Reading is what brings pages in and waits until they are there; the copy is thrown away.
        thread_local std::array<char, 128 * 1024> scratch;
        std::size_t done = 0;
        while (done < size) {
          const ssize_t got =
              sys::pread(range.file->get(), scratch.data(), std::min(scratch.size(), size - done),
                         static_cast<off_t>(range.offset + done));
          if (got <= 0) break;  // sendfile meets the same and tells
          done += static_cast<std::size_t>(got);
        }
        return size;
      },
      [this](std::size_t warmed) {
        if (!out_.empty()) out_.warmed(warmed);
        schedule();
      });
  warming_ = std::make_unique<Job>(std::move(job));
}

}  // namespace ftpd
