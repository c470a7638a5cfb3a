// The whole daemon but for the process around it: listeners, roles, loops and what they share.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/settings.h"
#include "exec/spawner.h"
#include "net/listener.h"
#include "reactor/offload.h"
#include "server/role.h"
#include "server/tree_threads.h"
#include "server/worker.h"

namespace ftpd {

/// Made, told and destroyed on the main thread; the members marked "any thread" are for the workers.
class Server {
 public:
  struct Shared {
    Reactor& main_reactor;
    Offload& pool;
    Spawner& spawner;
  };

  Server(SettingsSnapshot settings, Roles roles, Shared shared);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Opens the listeners, starts the loops, logs each address.
  [[nodiscard]] Result<void> start();

  /// Stops accepting; requests under way may finish. `drained` is called on the main thread when the
  /// last connection is gone.
  void drain(std::function<void()> drained);

  /// The time for that is over: what is under way is answered `shutting_down`.
  void shut_down();

  /// Ends the loops and what is left of their connections. Work that they gave to the pool or to the
  /// spawner is waited for by whoever destroys those; then call forget_results().
  void stop();

  /// After stop(), and after the spawner has ended: drops results that came too late for anybody.
  void forget_results();

  // --- any thread

  [[nodiscard]] const SettingsSnapshot& settings() const { return settings_; }
  [[nodiscard]] const Roles& roles() const { return roles_; }
  [[nodiscard]] const std::vector<Listener>& listeners() const { return listeners_; }
  [[nodiscard]] Offload& pool() const { return shared_.pool; }
  [[nodiscard]] Spawner& spawner() const { return shared_.spawner; }
  [[nodiscard]] TreeThreads& tree_threads() { return tree_threads_; }
  [[nodiscard]] uid_t own_uid() const { return own_uid_; }
  [[nodiscard]] std::string stats_json() const;

  enum class Admission : std::uint8_t { welcome, too_many, too_many_from_there };
  /// Counts a connection in. Every `welcome` is followed by one left().
  [[nodiscard]] Admission enter(const Address& peer);
  void left(const Address& peer);

  /// Since drain() no request begins, on whichever loop.
  [[nodiscard]] bool draining() const { return draining_.load(std::memory_order_relaxed); }

  /// A loop can't go on: the daemon stops, and failed() says why.
  void loop_failed();
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_relaxed); }

  /// A draining worker watches the listeners no more.
  void worker_stopped_accepting();
  /// A draining worker has no connection any more.
  void worker_drained();

 private:
  class Expiry;  // of the uploads that one store holds

  void start_expiry();

  SettingsSnapshot settings_;
  Roles roles_;
  Shared shared_;
  uid_t own_uid_;
  std::vector<Listener> listeners_;
  std::vector<std::unique_ptr<Worker>> workers_;
  // Above that `busy`. Most of them wait for a peer most of the time.
  static constexpr std::size_t most_tree_threads = 32;
  TreeThreads tree_threads_{most_tree_threads};    // they post to the workers' loops
  std::vector<std::unique_ptr<Expiry>> expiries_;  // main thread only
  std::function<void()> drained_;
  std::size_t workers_not_accepting_ = 0;  // main thread only
  std::size_t workers_drained_ = 0;        // main thread only
  std::atomic<bool> draining_{false};
  std::atomic<bool> failed_{false};
  std::atomic<unsigned> connections_{0};
  mutable std::mutex by_host_mutex_;
  std::map<std::string, unsigned> by_host_;  // only while max_connections_per_ip is set
  TimePoint started_ = Clock::now();
};

}  // namespace ftpd
