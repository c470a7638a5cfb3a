// The whole daemon but for the process around it.
#include "server/server.h"

#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "ftpd/json_write.h"

namespace ftpd {
namespace {

std::string_view name(DialectChoice dialect) {
  switch (dialect) {
    case DialectChoice::frame: return "frame";
    case DialectChoice::text: return "text";
    case DialectChoice::both: return "both";
  }
  return "";
}

/// How long what has expired may lie about.
Duration expiry_pause(Duration partial_ttl) {
  return std::clamp<Duration>(partial_ttl / 4, std::chrono::milliseconds{250}, std::chrono::minutes{10});
}

}  // namespace

/// Opening the store was the first time; from then on one job on the pool follows the other.
class Server::Expiry {
 public:
  Expiry(const Shared& shared, std::shared_ptr<Store> store)
      : shared_(shared),
        store_(std::move(store)),
        timer_(shared.main_reactor, Callback<void()>::to<&Expiry::run>(*this)) {
    pause();
  }

 private:
  void pause() { timer_.arm(shared_.main_reactor.now() + expiry_pause(store_->options().partial_ttl)); }
  void run() {
    job_ = shared_.pool.submit(
        shared_.main_reactor,
        [store = store_] {
          store->drop_expired();
          return true;
        },
        [this](bool /*done*/) { pause(); });
  }

  const Shared& shared_;
  std::shared_ptr<Store> store_;
  Timer timer_;
  Job job_;
};

Server::Server(SettingsSnapshot settings, Roles roles, Shared shared)
    : settings_(std::move(settings)), roles_(std::move(roles)), shared_(shared), own_uid_(::geteuid()) {}

Server::~Server() = default;

Result<void> Server::start() {
  for (const ListenSettings& listen : settings_->listen) {
    auto address = Address::parse(listen.address);
    if (!address) return std::unexpected(address.error());
    auto listener = Listener::open(*address);
    if (!listener) return std::unexpected(listener.error());
    listeners_.push_back(std::move(*listener));
  }
  unsigned count = settings_->server.workers;
  if (count == 0) count = std::max(1U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < count; ++i) {
    auto worker = Worker::create(*this, i);
    if (!worker) return std::unexpected(worker.error());
    workers_.push_back(std::move(*worker));
  }
  for (const auto& worker : workers_) {
    if (auto started = worker->start(); !started) return started;
  }
  start_expiry();
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    log::write(
        log::Level::info, "listening",
        {{"address", listeners_[i].address().text()}, {"dialect", name(settings_->listen[i].dialect)}});
  }
  return {};
}

void Server::start_expiry() {
  for (const auto& [role_name, role] : roles_) {
    if (role->settings.partial_ttl > Duration::zero())
      expiries_.push_back(std::make_unique<Expiry>(shared_, role->store));
  }
}

void Server::drain(std::function<void()> drained) {
  drained_ = std::move(drained);
  draining_.store(true, std::memory_order_relaxed);
  for (const auto& worker : workers_) worker->drain();
}

void Server::loop_failed() {
  failed_.store(true, std::memory_order_relaxed);
  shared_.main_reactor.stop();
}

void Server::worker_stopped_accepting() {
  shared_.main_reactor.post([this] {
    // Whoever connects from here on is refused by the kernel, and does not wait for nothing.
    if (++workers_not_accepting_ == workers_.size()) listeners_.clear();
  });
}

void Server::worker_drained() {
  shared_.main_reactor.post([this] {
    if (++workers_drained_ == workers_.size() && drained_) drained_();
  });
}

void Server::shut_down() {
  for (const auto& worker : workers_) worker->shut_down();
}

void Server::stop() {
  expiries_.clear();
  for (const auto& worker : workers_) worker->stop();
  tree_threads_.wait();  // whoever they worked for is gone, so they end soon
}

void Server::forget_results() {
  for (const auto& worker : workers_) static_cast<void>(worker->services().reactor.turn(Clock::now()));
}

Server::Admission Server::enter(const Address& peer) {
  const ServerSettings& server = settings_->server;
  if (connections_.fetch_add(1, std::memory_order_relaxed) >= server.max_connections) {
    connections_.fetch_sub(1, std::memory_order_relaxed);
    return Admission::too_many;
  }
  if (server.max_connections_per_ip == 0 || peer.is_unix()) return Admission::welcome;
  const std::lock_guard lock(by_host_mutex_);
  unsigned& count = by_host_[peer.host()];
  if (count >= server.max_connections_per_ip) {
    connections_.fetch_sub(1, std::memory_order_relaxed);
    return Admission::too_many_from_there;
  }
  ++count;
  return Admission::welcome;
}

void Server::left(const Address& peer) {
  connections_.fetch_sub(1, std::memory_order_relaxed);
  if (settings_->server.max_connections_per_ip == 0 || peer.is_unix()) return;
  const std::lock_guard lock(by_host_mutex_);
  const auto found = by_host_.find(peer.host());
  if (found != by_host_.end() && --found->second == 0) by_host_.erase(found);
}

std::string Server::stats_json() const {
  const auto sum = [this](Counter Counters::* counter) {
    std::uint64_t total = 0;
    for (const auto& worker : workers_) total += (worker->counters().*counter).value();
    return total;
  };
  std::uint64_t running = 0;
  for (const auto& [role_name, role] : roles_) running += role->commands->running();
  JsonObject stats;
  stats.add("uptime_seconds",
            std::uint64_t(std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - started_).count()));
  stats.add("workers", std::uint64_t{workers_.size()});
  stats.add("connections_accepted", sum(&Counters::connections_accepted));
  stats.add("connections_refused", sum(&Counters::connections_refused));
  stats.add("connections_open", sum(&Counters::connections_open));
  stats.add("requests", sum(&Counters::requests));
  stats.add("failures", sum(&Counters::failures));
  stats.add("bytes_received", sum(&Counters::bytes_received));
  stats.add("bytes_sent", sum(&Counters::bytes_sent));
  stats.add("commands_started", sum(&Counters::commands_started));
  stats.add("commands_running", running);
  stats.add("pool_queued", std::uint64_t{shared_.pool.queued()});
  return std::move(stats).take();
}

}  // namespace ftpd
