// One request being served: what an operation is, and what it may ask of its connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "access/policy.h"
#include "exec/spawner.h"
#include "ftpd/message.h"
#include "net/address.h"
#include "net/out_queue.h"
#include "reactor/file_watch.h"
#include "reactor/offload.h"
#include "reactor/reactor.h"
#include "server/counters.h"
#include "server/lender.h"
#include "server/reply.h"
#include "server/role.h"

namespace ftpd {

class Server;

/// What a loop has for the requests that it serves. Owned by the worker, outlives its connections.
struct LoopServices {
  Server& server;
  Reactor& reactor;
  Offload& pool;
  Spawner& spawner;
  SettingsSnapshot settings;
  HeaderParser parser;
  BufferLender buffers;
  PipeLender pipes;
  Counters counters;
  FileWatcher file_watcher;
};

/// Who asks, and by which listener's rules he is judged. Lives with the connection.
struct Caller {
  Peer peer;
  const ListenSettings* listener = nullptr;
  std::shared_ptr<const Role> role;  // null: must authenticate
};

/// The rules by which he is judged. `own_uid`: the daemon's.
[[nodiscard]] inline Rules rules_of(const Caller& caller, uid_t own_uid) {
  Rules rules;
  rules.local_users_same = caller.listener->local_users == LocalUsers::same;
  rules.own_uid = own_uid;
  if (caller.role != nullptr) {
    rules.role = caller.role->name;
    rules.allowed = caller.role->allowed;
  }
  return rules;
}

/// What an operation may ask of the conversation that it belongs to. Loop thread only.
class Host {
 public:
  [[nodiscard]] virtual LoopServices& services() const = 0;
  [[nodiscard]] virtual const Caller& caller() const = 0;
  /// For the log.
  [[nodiscard]] virtual const Address& peer() const = 0;

  /// Where an operation that holds the word writes its reply frames. May be called at any time while
  /// the operation is active; what is pushed outside of a call from the host goes out soon.
  virtual void send(std::string&& bytes) = 0;
  virtual void send(std::string_view bytes) = 0;  // copied
  virtual void send_file(OutQueue::FileRange range) = 0;

  /// The final reply has been sent. The operation is destroyed after the present turn.
  virtual void finish() = 0;

  /// An operation that gave up the word (see Operation::settles) has its final reply.
  virtual void settle(class Operation& operation, std::string reply) = 0;

  /// The name of the request begun last, for note_failure().
  [[nodiscard]] virtual std::string_view command() const = 0;
  /// Counts and logs: every failure that is answered goes through here, once.
  virtual void note_failure(std::string_view command, const RequestId& id, const Failure& failure) = 0;

  /// The client waits for this before it sends the body (`wait`): sends it once, where it is due. Until
  /// then a failure stands in the place of the body.
  virtual void invite_body() = 0;

  /// body_room() or body_pipe() has become better.
  virtual void resume_input() = 0;

  /// Bytes that wait in memory to go out. A producer stops above `output_high` and goes on when
  /// Operation::on_output_room() tells that they have gone.
  [[nodiscard]] virtual std::size_t unsent() const = 0;
  static constexpr std::size_t output_high = 256 * 1024;

  /// The connection is closed once the replies are out.
  virtual void close_after_reply() = 0;

 protected:
  ~Host() = default;
};

/// The first frame of a request. Views: valid until the maker returns.
struct Request {
  const Header& header;
  const FrameInfo& frame;
  const RequestId& id;
  std::size_t body_at_hand = 0;  // bytes of the body that have arrived with the header
};

/// Owns everything of one request (an upload, a child …) and dies with it: when it has finished, or
/// when the client is gone, whichever comes first. The host calls it on its loop's thread.
class Operation {
 public:
  Operation() = default;
  virtual ~Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  /// It is over, and is destroyed after the present turn, perhaps later than its host: from here on
  /// nothing of it calls the host. Its jobs, watches and timers are stopped.
  virtual void detach() = 0;

  /// After it was made and is known to the host.
  virtual void start() {}

  /// A frame that continues the request; its body follows.
  virtual void on_frame(const Header& /*header*/) {}

  /// Bytes of body that it can take now; 0 pauses the connection's reading.
  [[nodiscard]] virtual std::size_t body_room() const { return std::numeric_limits<std::size_t>::max(); }
  /// At most body_room() bytes.
  virtual void on_body(std::string_view /*bytes*/) {}

  /// An empty pipe that the body may be spliced into, straight from the socket; null for none.
  [[nodiscard]] virtual SplicePipe* body_pipe() { return nullptr; }
  /// body_pipe()->held has grown by `count`.
  virtual void on_spliced(std::size_t /*count*/) {}

  /// What waits to go out has fallen below Host::output_high / 2, where it had been above.
  virtual void on_output_room() {}

  /// The last frame is complete.
  virtual void on_message_end() {}

  /// The client called the request off (`abort`). Replies and finishes.
  virtual void on_abort() = 0;

  /// The client's input has ended behind a complete request; the answer is still wanted.
  enum class EndOfInput : std::uint8_t { finish, gone };
  [[nodiscard]] virtual EndOfInput on_end_of_input() { return EndOfInput::finish; }

  /// A frame of its message is wrong. True where it answers with the failure itself, when what it holds is
  /// free again; else the host answers, and it is dropped.
  [[nodiscard]] virtual bool gives_up(const Failure& /*failure*/) { return false; }

  /// The daemon stops: an operation that would never end by itself ends now.
  virtual void on_drain() {}

  /// The daemon stops and can't wait longer: answer `shutting_down` now and finish.
  virtual void on_shutdown() = 0;

  /// After a reset nobody reads the reply: is the request done all the same once it is complete?
  [[nodiscard]] virtual bool survives_reset() const { return false; }

  /// Its client is gone, but what has come is kept (an upload that can be resumed), and not all of it
  /// has been taken yet: Host::resume_input() will tell.
  [[nodiscard]] virtual bool keeps_taking() const { return false; }

  /// Between frames of its message: does the peer owe the next one (else a stall)?
  [[nodiscard]] virtual bool owed_input() const { return true; }

  /// Asked at the message's end: may the connection read on before the final reply is known? Then the
  /// reply's place is kept, and the operation calls Host::settle() in place of send() and finish().
  /// The name it returns is what no other request may touch meanwhile; empty for no.
  [[nodiscard]] virtual std::string_view settles() const { return {}; }
  /// It makes more than that name: the directories on the way.
  [[nodiscard]] virtual bool makes_directories() const { return false; }
  /// Bytes of memory held meanwhile.
  [[nodiscard]] virtual std::size_t memory() const { return 0; }
};

/// An operation; or nothing where the maker has sent the whole answer already.
using Made = std::expected<std::unique_ptr<Operation>, Failure>;

}  // namespace ftpd
