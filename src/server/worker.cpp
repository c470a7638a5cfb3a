// One event loop: its thread, its accepting and its connections.
#include "server/worker.h"

#include <sys/epoll.h>

#include "base/log.h"
#include "base/sys.h"
#include "server/server.h"

namespace ftpd {
namespace {

// Enough to keep a burst moving, few enough that the other loops get their share of it.
constexpr unsigned accepts_each_turn = 16;

// Refused connections that are told so; each lives on for the time of a polite close.
constexpr unsigned most_lingering = 64;

constexpr Duration accept_pause = std::chrono::seconds{1};

}  // namespace

struct Worker::Door {
  Door(Worker& owner, const Listener& with, const ListenSettings& by,
       std::shared_ptr<const Role> role_of_strangers)
      : worker(owner), listener(with), settings(by), role(std::move(role_of_strangers)) {}
  void on_ready(std::uint32_t /*events*/) { worker.on_door(*this); }

  Worker& worker;
  const Listener& listener;
  const ListenSettings& settings;
  std::shared_ptr<const Role> role;  // null: strangers must authenticate
  Watch watch;
};

Result<std::unique_ptr<Worker>> Worker::create(Server& server, unsigned /*number*/) {
  auto reactor = Reactor::create();
  if (!reactor) return std::unexpected(reactor.error());
  auto worker = std::unique_ptr<Worker>(new Worker(server, std::move(*reactor)));
  // Without it nobody's uid is known, and unknown is refused where it matters.
  if (auto owner = SocketOwner::create())
    worker->socket_owner_ = std::make_unique<SocketOwner>(std::move(*owner));
  return worker;
}

Worker::Worker(Server& server, std::unique_ptr<Reactor> reactor)
    : server_(server),
      reactor_(std::move(reactor)),
      services_{.server = server,
                .reactor = *reactor_,
                .pool = server.pool(),
                .spawner = server.spawner(),
                .settings = server.settings(),
                .parser = {},
                .buffers = BufferLender{std::max<std::size_t>(
                    limits::read_ahead, server.settings()->server.max_header + limits::length_size)},
                .pipes = {},
                .counters = {},
                .file_watcher = FileWatcher{*reactor_}},
      accept_timer_(*reactor_, Callback<void()>::to<&Worker::resume_accepting>(*this)) {}

Worker::~Worker() = default;

Result<void> Worker::start() {
  const Settings& settings = *services_.settings;
  for (std::size_t i = 0; i < settings.listen.size(); ++i) {
    const auto role = server_.roles().find(settings.listen[i].role);
    auto door = std::make_unique<Door>(*this, server_.listeners()[i], settings.listen[i],
                                       role != server_.roles().end() ? role->second : nullptr);
    auto watched = door->watch.start(*reactor_, door->listener.fd(), EPOLLIN | EPOLLEXCLUSIVE,
                                     Watch::Handler::to<&Door::on_ready>(*door));
    if (!watched) return watched;
    doors_.push_back(std::move(door));
  }
  thread_ = std::thread([this] { run(); });
  return {};
}

void Worker::run() {
  if (auto ended = reactor_->run(); !ended) {
    log::write(log::Level::error, "a loop failed", {{"reason", ended.error().text}});
    server_.loop_failed();
  }
}

// --- accepting

void Worker::on_door(Door& door) {
  for (unsigned i = 0; i < accepts_each_turn && accepting_; ++i) {
    auto accepted = door.listener.accept();
    if (!accepted) {
      if (accepted.error().number == EAGAIN) return;
      services_.counters.connections_refused.add();
      pause_accepting(accepted.error().text);
      return;
    }
    admit(door, std::move(accepted->fd), std::move(accepted->peer));
  }
}

void Worker::admit(Door& door, UniqueFd socket, Address peer) {
  const Server::Admission admission = server_.enter(peer);
  if (admission != Server::Admission::welcome && lingering_ >= most_lingering) {
    services_.counters.connections_refused.add();
    return;  // too many are being told that they are too many: closed without a word
  }
  Caller caller{
      .peer = identify(peer, socket.get(), door.settings), .listener = &door.settings, .role = door.role};
  auto connection =
      std::make_unique<Connection>(*this, std::move(socket), std::move(peer), std::move(caller));
  Connection& admitted = *connection;
  if (admission != Server::Admission::welcome) ++lingering_;
  services_.counters.connections_accepted.add();
  services_.counters.connections_open.add();
  switch (admission) {
    case Server::Admission::welcome: admitted.set_counted(); break;
    case Server::Admission::too_many:
      services_.counters.connections_refused.add();
      admitted.refuse(
          {.status = Status::busy, .message = "max_connections are open", .retry_after_ms = 1000});
      break;
    case Server::Admission::too_many_from_there:
      services_.counters.connections_refused.add();
      admitted.refuse({.status = Status::busy,
                       .message = "max_connections_per_ip are open from your address",
                       .retry_after_ms = 1000});
      break;
  }
  adopt(std::move(connection));
  if (auto started = admitted.start(); !started) {
    log::write(log::Level::error, "refused",
               {{"peer", admitted.peer().text()}, {"reason", started.error().text}});
    release(admitted);
  }
}

Peer Worker::identify(const Address& peer, int socket, const ListenSettings& listener) {
  Peer who;
  if (peer.is_unix()) {
    who.kind = Peer::Kind::unix_socket;
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (sys::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
      who.uid_known = true;
      who.uid = credentials.uid;
    }
    return who;
  }
  who.kind = peer.is_loopback() ? Peer::Kind::loopback_tcp : Peer::Kind::remote_tcp;
  if (who.kind != Peer::Kind::loopback_tcp || listener.local_users != LocalUsers::same || !socket_owner_)
    return who;
  sockaddr_storage self{};
  socklen_t size = sizeof self;
  if (sys::getsockname(socket, reinterpret_cast<sockaddr*>(&self), &size) < 0) return who;
  if (const auto uid = socket_owner_->of(peer, Address::from_sockaddr(self, size))) {
    who.uid_known = true;
    who.uid = *uid;
  }
  return who;
}

void Worker::pause_accepting(std::string_view why) {
  // The listener stays readable: waiting for it would turn the loop without end.
  accepting_ = false;
  for (const auto& door : doors_) door->watch.set_interest(0);
  if (reactor_->now() >= next_pause_told_) {
    next_pause_told_ = reactor_->now() + std::chrono::seconds{10};
    log::write(log::Level::warning, "accepting is paused", {{"reason", why}});
  }
  accept_timer_.arm(reactor_->now() + accept_pause);
}

void Worker::resume_accepting() {
  if (accepting_ || draining_) return;
  accepting_ = true;
  accept_timer_.disarm();
  for (const auto& door : doors_) door->watch.set_interest(EPOLLIN | EPOLLEXCLUSIVE);
}

// --- connections

void Worker::adopt(std::unique_ptr<Connection> connection) {
  connection->set_index(static_cast<std::uint32_t>(connections_.size()));
  connections_.push_back(std::move(connection));
}

void Worker::release(Connection& connection) {
  const std::uint32_t index = connection.index();
  std::unique_ptr<Connection> leaving = std::move(connections_[index]);
  connections_[index] = std::move(connections_.back());
  connections_.pop_back();
  if (index < connections_.size()) connections_[index]->set_index(index);
  services_.counters.connections_open.subtract();
  if (leaving->counted()) {
    server_.left(leaving->peer());
  } else {
    --lingering_;
  }
  reactor_->defer([this, leaving = std::move(leaving)]() mutable {
    leaving.reset();
    resume_accepting();  // a descriptor is free again
    tell_when_drained();
  });
}

void Worker::tell_when_drained() {
  if (!draining_ || drained_told_ || !connections_.empty()) return;
  drained_told_ = true;
  server_.worker_drained();
}

// --- from other threads

void Worker::drain() {
  reactor_->post([this] {
    draining_ = true;
    accepting_ = false;
    doors_.clear();
    server_.worker_stopped_accepting();
    tell_when_drained();
    // One that is closed takes itself out of the list.
    for (std::size_t i = connections_.size(); i-- > 0;) {
      if (i < connections_.size()) connections_[i]->drain();
    }
  });
}

void Worker::shut_down() {
  reactor_->post([this] {
    for (std::size_t i = connections_.size(); i-- > 0;) {
      if (i < connections_.size()) connections_[i]->shut_down();
    }
  });
}

void Worker::stop() {
  reactor_->stop();
  if (thread_.joinable()) thread_.join();
  doors_.clear();
  connections_.clear();
}

}  // namespace ftpd
