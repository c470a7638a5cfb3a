// One event loop: its thread, its accepting and its connections.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "net/listener.h"
#include "net/socket_owner.h"
#include "server/connection.h"
#include "server/operation.h"

namespace ftpd {

class Server;

/// Made and destroyed on the main thread; everything else happens on its own, which start() begins
/// and stop() ends.
class Worker {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Worker>> create(Server& server, unsigned number);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] Result<void> start();

  // Any thread: posted to the loop.
  void drain();
  void shut_down();
  void stop();  // and join; what is left of the connections is destroyed

  [[nodiscard]] LoopServices& services() { return services_; }
  [[nodiscard]] const Counters& counters() const { return services_.counters; }

  /// Loop thread: the connection is destroyed after this turn.
  void release(Connection& connection);

 private:
  struct Door;  // a listener as this loop watches it

  Worker(Server& server, std::unique_ptr<Reactor> reactor);
  void run();
  void on_door(Door& door);
  void admit(Door& door, UniqueFd socket, Address peer);
  [[nodiscard]] Peer identify(const Address& peer, int socket, const ListenSettings& listener);
  void pause_accepting(std::string_view why);
  void resume_accepting();
  void tell_when_drained();
  void adopt(std::unique_ptr<Connection> connection);

  Server& server_;
  std::unique_ptr<Reactor> reactor_;
  LoopServices services_;
  std::vector<std::unique_ptr<Door>> doors_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::unique_ptr<SocketOwner> socket_owner_;
  Timer accept_timer_;
  TimePoint next_pause_told_{};  // the log says it at most every 10 s
  unsigned lingering_ = 0;       // refused connections that are still being told
  bool accepting_ = true;
  bool draining_ = false;
  bool drained_told_ = false;
  std::thread thread_;
};

}  // namespace ftpd
