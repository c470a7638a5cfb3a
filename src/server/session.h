// One dialect's side of a connection: what turns its bytes into requests.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "server/operation.h"

namespace ftpd {

/// How much one connection may do before the others have their turn.
struct Turn {
  std::size_t bytes = 512 * 1024;
  unsigned requests = 128;
  unsigned served = 0;  // requests begun
  bool moved = false;   // bytes, either way

  [[nodiscard]] bool over() const { return bytes == 0 || requests == 0; }
  void spend(std::size_t count) {
    bytes -= count < bytes ? count : bytes;
    moved = moved || count > 0;
  }
};

/// What a connection's next byte would be part of: the deadlines follow from it.
enum class Awaiting : std::uint8_t {
  request,  // nothing is under way: idle
  header,   // the rest of a length, header or line: must come in one stall_timeout, however slowly
  body,     // the rest of a body, or the next frame of a message: must keep coming
  nothing,  // the peer owes nothing; we have the word
};

class Session {
 public:
  Session() = default;
  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Takes what it can of `input` now.
  virtual void consume(Buffer& input, Turn& turn) = 0;

  /// May the connection read on? False pauses it (back-pressure).
  [[nodiscard]] virtual bool wants_input() const = 0;

  /// With an empty input buffer: where a body's bytes may go without passing through memory.
  struct SpliceTarget {
    SplicePipe* pipe = nullptr;
    std::size_t size = 0;
  };
  [[nodiscard]] virtual SpliceTarget splice_target() { return {}; }
  virtual void spliced(std::size_t /*count*/) {}

  /// The peer's input has ended and `input` is all that is left of it. Called again until the session
  /// has nothing left to do; then it says so to the connection (Connection::close_after_output).
  virtual void on_end_of_input(Buffer& input) = 0;

  /// The connection was reset: replies go nowhere from now on.
  virtual void on_reset() = 0;

  /// The output queue has room again.
  virtual void on_output_room() = 0;

  /// The peer neither sends what it owes nor takes what it is sent: say `timeout` if that is possible.
  virtual void on_stall() = 0;

  /// The daemon is stopping; what is under way may finish.
  virtual void on_drain() {}

  /// The daemon is stopping and waits no longer.
  virtual void on_shutdown() = 0;

  /// How long the peer must have been silent before the queued replies go out; zero: at once.
  [[nodiscard]] virtual Duration reply_patience() const { return Duration::zero(); }
  /// It was silent for that long.
  virtual void on_silence() {}

  [[nodiscard]] virtual Awaiting awaiting() const = 0;

  /// Nothing that was asked for and is complete is still being done.
  [[nodiscard]] virtual bool settled() const { return true; }

  /// No request is under way and nothing is owed to the peer by an operation.
  [[nodiscard]] virtual bool idle() const = 0;
};

}  // namespace ftpd
