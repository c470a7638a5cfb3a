// One client's connection: the pump between its socket and its session, and its life.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "net/address.h"
#include "net/out_queue.h"
#include "net/stream.h"
#include "reactor/reactor.h"
#include "server/operation.h"
#include "server/pacer.h"
#include "server/session.h"

namespace ftpd {

class Worker;

/// Lives and dies on one loop. Owned by its Worker, which destroys it between event batches after
/// Worker::release(). Its life:
///
///     OPEN ---- close_after_output() ----> FLUSHING ---- all is out ----> CLOSING ----> gone
///
/// CLOSING has shut down sending and discards input for at most 2 s, so that the peer reads the last
/// reply before it could see a reset.
class Connection {
 public:
  enum class Life : std::uint8_t { OPEN, FLUSHING, CLOSING, GONE };

  Connection(Worker& worker, UniqueFd socket, Address peer, Caller caller);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Registers with the loop; on an Error the owner destroys the connection.
  [[nodiscard]] Result<void> start();

  // --- for the worker

  /// SIGTERM: requests under way may finish, then the connection is closed; an idle one at once.
  void drain();
  /// The time for that is over.
  void shut_down();
  /// Over `max_connections`: one `busy`, then close.
  void refuse(const Failure& failure);
  [[nodiscard]] std::uint32_t index() const { return index_; }
  void set_index(std::uint32_t index) { index_ = index; }
  /// Counted in by Server::enter().
  void set_counted() { counted_ = true; }
  [[nodiscard]] bool counted() const { return counted_; }
  [[nodiscard]] const Address& peer() const { return peer_; }

  // --- for the session

  [[nodiscard]] LoopServices& services() const;
  [[nodiscard]] const Caller& caller() const { return caller_; }

  /// Queues bytes; they leave at the end of the turn. Dropped after a reset.
  void send(std::string&& bytes);
  void send(std::string_view bytes);
  void send_file(OutQueue::FileRange range);
  [[nodiscard]] OutQueue::Ticket reserve() { return reset_ ? OutQueue::Ticket{} : out_.reserve(); }
  void fill(OutQueue::Ticket ticket, std::string bytes);
  [[nodiscard]] std::size_t unsent() const { return out_.memory(); }

  /// May a further request begin? Not while a file's bytes wait to go out, nor over `reply_queue`.
  [[nodiscard]] bool output_has_room() const;

  /// The pump is run again in the next turn.
  void schedule() { task_.schedule(); }

  /// Reads what is there right now, without waiting; true if something came. For the text dialect's
  /// idle rule, which looks once more before it takes silence for an end.
  [[nodiscard]] bool read_once_more();

  /// No further request: what is queued goes out, then CLOSING. The first reason stays.
  void close_after_output(std::string_view reason);

  [[nodiscard]] bool draining() const;
  [[nodiscard]] bool reset() const { return reset_; }
  [[nodiscard]] bool input_ended() const { return input_ended_; }
  [[nodiscard]] Life life() const { return life_; }
  [[nodiscard]] Buffer* input() const { return input_.get(); }

 private:
  void on_ready(std::uint32_t events);
  void on_timer();
  void pump();

  void serve(Turn& turn);
  [[nodiscard]] bool read_some(Turn& turn);
  [[nodiscard]] bool read_at_most(std::size_t most, Turn& turn);
  void decide_dialect();
  void flush(Turn& turn);
  [[nodiscard]] bool can_flush() const;
  [[nodiscard]] bool replies_wait() const;
  /// Bytes of further requests are here, and it is we who do not take them yet.
  [[nodiscard]] bool more_at_hand() const;
  void warm_front_file();
  void lose(std::string_view reason);
  void begin_closing();

  // --- the rate of the role

  /// What it has been given of the rate, each way.
  struct Pace {
    Pacer::Claim receiving;
    Pacer::Claim sending;
  };
  /// Not after a reset: what is still to be read has come already.
  [[nodiscard]] bool is_paced() const {
    return caller_.role != nullptr && caller_.role->receiving != nullptr && !reset_;
  }
  [[nodiscard]] Pace& pace();
  [[nodiscard]] std::size_t may_receive();
  [[nodiscard]] std::size_t may_send();
  void settle_pace();
  /// There is something to read, and it is our rate that makes it wait.
  [[nodiscard]] bool reading_waits() const { return pace_ != nullptr && pace_->receiving.waiting(); }
  [[nodiscard]] bool reads_now() const { return wants_input() && !reading_waits(); }

  void discard_input();
  void die();
  void rest();

  [[nodiscard]] bool has_input() const { return input_ != nullptr && !input_->empty(); }
  /// Replies are dropped after a reset: nobody reads them.
  [[nodiscard]] bool takes_output() const {
    return !reset_ && (life_ == Life::OPEN || life_ == Life::FLUSHING);
  }
  [[nodiscard]] bool wants_input() const;
  [[nodiscard]] std::uint32_t interest() const;
  [[nodiscard]] TimePoint deadline() const;
  [[nodiscard]] TimePoint peer_deadline() const;
  void note_progress(const Turn& turn);
  void set_life(Life life);

  Worker& worker_;
  Stream stream_;
  Address peer_;
  Caller caller_;
  OutQueue out_;
  std::unique_ptr<Buffer> input_;     // lent while there is something in it
  std::unique_ptr<Session> session_;  // none until the dialect is decided
  Watch watch_;
  Timer timer_;
  Task task_;
  std::unique_ptr<Job> warming_;
  std::unique_ptr<Pace> pace_;  // none while it moves nothing, or where no rate is set
  TimePoint timer_deadline_ = never;
  TimePoint since_;  // when the present wait began
  std::uint32_t index_ = 0;
  Life life_ = Life::OPEN;
  Awaiting awaiting_ = Awaiting::request;
  // Flags of one bit: every idle connection keeps them.
  bool wanted_input_ : 1 = true;  // at the end of the last turn
  bool readable_ : 1 = true;      // the socket may have input: it has not said EAGAIN since
  bool blocked_ : 1 = false;      // the socket takes no more output
  bool input_ended_ : 1 = false;
  bool reset_ : 1 = false;
  bool draining_ : 1 = false;
  bool bulk_ : 1 = false;  // a file's bytes are in the output queue
  bool output_was_high_ : 1 = false;
  bool serving_ : 1 = false;
  bool counted_ : 1 = false;
};

[[nodiscard]] std::string_view name(Connection::Life life);

}  // namespace ftpd
