// What the server's tests share: a whole server on a socket of its own, a blocking client, failing calls.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/sys.h"
#include "exec/descendants.h"
#include "exec/spawner.h"
#include "ftpd/conversation.h"
#include "ftpd/json_write.h"
#include "reactor/signals.h"
#include "server/role.h"
#include "server/server.h"

namespace ftpd::test {

inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void write_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// Asks again and again: what other threads do is seen, not told.
template <class Condition>
bool eventually(Condition condition, Duration limit = std::chrono::seconds(10)) {
  const TimePoint until = Clock::now() + limit;
  while (!condition()) {
    if (Clock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// A header and its body, as they go over the wire.
inline std::string frame(std::string_view header, std::string_view body = {}) {
  std::string bytes;
  append_frame(bytes, header);
  bytes += body;
  return bytes;
}

/// One reply frame; `ended` where the connection was closed or reset in its place, `silent` where
/// nothing came for longer than any machine should need.
struct Reply {
  enum class How : std::uint8_t { whole, ended, silent };
  How how = How::silent;
  std::string header;
  std::string body;

  [[nodiscard]] bool has(std::string_view text) const { return header.find(text) != std::string::npos; }
  [[nodiscard]] bool ok() const { return how == How::whole && has("\"ok\":true"); }
  [[nodiscard]] bool failed(std::string_view code) const {
    return how == How::whole && has("\"ok\":false") &&
           has(std::string{"\"error\":\""} + std::string{code} + '"');
  }
};

/// Speaks to the server with plain system calls, so that faults meant for the server never hit it.
class Client {
 public:
  explicit Client(const Address& address)
      : socket_(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage storage;
    const socklen_t size = address.to_sockaddr(storage);
    REQUIRE(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&storage), size) == 0);
    set_patience(std::chrono::seconds(10));
  }

  void set_patience(std::chrono::microseconds patience) {
    timeval time{};
    time.tv_sec = patience.count() / 1'000'000;
    time.tv_usec = patience.count() % 1'000'000;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
  }

  /// False where the connection is gone (or the server takes nothing for the whole patience).
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void end_sending() { ::shutdown(socket_.get(), SHUT_WR); }
  /// Closes with a reset.
  void reset() {
    const linger now{1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    socket_.reset();
  }
  void close() { socket_.reset(); }

  Reply read_reply() {
    Reply reply;
    std::string length(limits::length_size, '\0');
    if (reply.how = fill(length); reply.how != Reply::How::whole) return reply;
    std::uint32_t size = 0;
    for (std::size_t i = limits::length_size; i-- > 0;)
      size = size << 8U | static_cast<unsigned char>(length[i]);
    REQUIRE(size <= limits::largest_max_header);
    reply.header.resize(size);
    if (reply.how = fill(reply.header); reply.how != Reply::How::whole) return reply;
    const auto header = parser_.parse(reply.header, false);
    REQUIRE_MESSAGE(header.has_value(), reply.header);
    const auto body = header->size("data_size");
    REQUIRE(body.has_value());
    REQUIRE(body->has_value());
    reply.body.resize(**body);
    reply.how = fill(reply.body);
    return reply;
  }

  Reply ask(std::string_view header, std::string_view body = {}) {
    send(frame(header, body));
    return read_reply();
  }

  /// Everything until the connection ends.
  std::string read_all() {
    std::string all;
    std::array<char, 16384> piece;
    for (;;) {
      const ssize_t got = ::recv(socket_.get(), piece.data(), piece.size(), 0);
      const bool ended = got == 0 || (got < 0 && errno == ECONNRESET);
      if (ended) return all;
      REQUIRE_MESSAGE(got > 0, "the connection is not closed");
      all.append(piece.data(), static_cast<std::size_t>(got));
    }
  }

  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  [[nodiscard]] Reply::How fill(std::string& into) {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t got = ::recv(socket_.get(), into.data() + done, into.size() - done, 0);
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Reply::How::silent;
      if (got <= 0) return Reply::How::ended;
      done += static_cast<std::size_t>(got);
    }
    return Reply::How::whole;
  }

  UniqueFd socket_;
  HeaderParser parser_;
};

/// The daemon without its process: made and ended in the order in which ftpd(8) does it. Its files are
/// in `root()`, its listener is a Unix socket, it has one loop, and its role may do everything.
class WholeServer {
 public:
  enum class Files : std::uint8_t { on_disk, in_memory };
  using Adjust = std::function<void(Settings&)>;

  explicit WholeServer(const Adjust& adjust = {}, Files files = Files::on_disk) {
    log::set_level(log::Level::error);
    block_signals({SIGCHLD});
    base_ =
        (files == Files::in_memory ? std::string{"/dev/shm"} : temporary_directory()) + "/ftpd-server-XXXXXX";
    REQUIRE(::mkdtemp(base_.data()) != nullptr);

    LoadedSettings loaded;
    Settings& settings = loaded.settings;
    settings.server.workers = 1;
    settings.server.log = log::Level::error;
    settings.listen[0].address = "unix:" + base_ + "/socket";
    RoleSettings& role = settings.roles["local"];
    role.root = root();
    role.allow = {"read", "write", "delete", "exec", "shell", "admin"};
    role.kill_grace = std::chrono::milliseconds{200};
    if (adjust) adjust(settings);
    auto roles = open_roles(loaded);
    REQUIRE(roles.has_value());

    auto reactor = Reactor::create();
    REQUIRE(reactor.has_value());
    reactor_ = std::move(*reactor);
    pool_ = std::make_unique<Offload>(2);
    auto descendants = Descendants::create(*reactor_, *pool_);
    REQUIRE(descendants.has_value());
    descendants_ = std::move(*descendants);
    spawner_ = std::make_unique<ThreadSpawner>(2, *descendants_);
    server_ = std::make_unique<Server>(
        std::make_shared<Settings>(settings), std::move(*roles),
        Server::Shared{.main_reactor = *reactor_, .pool = *pool_, .spawner = *spawner_});
    auto started = server_->start();
    REQUIRE_MESSAGE(started.has_value(), started.error().text);
  }
  ~WholeServer() {
    server_->stop();
    spawner_.reset();
    server_->forget_results();
    descendants_->kill_everything(Clock::now() + std::chrono::seconds(10));
    descendants_.reset();
    pool_.reset();
    server_->forget_results();
    server_.reset();
    reactor_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(base_, ignored);
  }
  WholeServer(const WholeServer&) = delete;
  WholeServer& operator=(const WholeServer&) = delete;

  [[nodiscard]] static std::string temporary_directory() {
    const char* const set = std::getenv("TMPDIR");
    return set != nullptr ? set : "/tmp";
  }

  [[nodiscard]] Server& server() { return *server_; }
  [[nodiscard]] Reactor& main_reactor() { return *reactor_; }
  [[nodiscard]] Offload& pool() { return *pool_; }
  [[nodiscard]] const Address& address(std::size_t listener = 0) const {
    return server_->listeners()[listener].address();
  }
  [[nodiscard]] std::string root() const { return base_ + "/root"; }
  [[nodiscard]] std::string at(const std::string& name) const { return root() + "/" + name; }

  [[nodiscard]] std::uint64_t stat(std::string_view counter) const {
    const std::string all = server_->stats_json();
    const auto found = all.find("\"" + std::string{counter} + "\":");
    REQUIRE(found != std::string::npos);
    return std::strtoull(all.c_str() + found + counter.size() + 3, nullptr, 10);
  }
  /// No client is connected any more, and what they left has been cleared away.
  [[nodiscard]] bool becomes_quiet() {
    return eventually([this] { return stat("connections_open") == 0 && stat("commands_running") == 0; });
  }
  [[nodiscard]] std::size_t staged_files() const {
    std::size_t count = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(at(".ftpd"), error)) {
      if (!entry.is_directory()) ++count;
    }
    return count;
  }

 private:
  std::string base_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<Offload> pool_;
  std::unique_ptr<Descendants> descendants_;
  std::unique_ptr<ThreadSpawner> spawner_;
  std::unique_ptr<Server> server_;
};

/// Which call goes wrong, and how.
struct Fault {
  std::string_view call{};  // "": any but those that the loop itself lives on
  unsigned nth = 1;         // from 1; 0: each
  int number = 0;           // errno; 0: the call is made
  std::chrono::milliseconds delay{};
};

/// While it lives, calls fail or take their time. One at a time.
class Faults {
 public:
  explicit Faults(const Fault& plan) {
    {
      const std::lock_guard lock(mutex_);
      plan_ = plan;
      seen_ = 0;
    }
    fired_ = "";
    sys::set_fault_hook(&ask);
  }
  ~Faults() { sys::set_fault_hook(nullptr); }
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  /// The name of the call that failed, "" while none has.
  [[nodiscard]] static std::string_view fired() { return fired_.load(); }

 private:
  /// No kernel refuses these in a way that a program could live with: the wake-up of a loop is a write.
  static bool is_of_the_loop(std::string_view call) {
    return call == "epoll_wait" || call == "epoll_ctl" || call == "write" || call == "read";
  }
  static int ask(const char* call) {
    Fault plan;
    {
      const std::lock_guard lock(mutex_);
      plan = plan_;
      if (plan.call.empty() ? is_of_the_loop(call) : plan.call != call) return 0;
      if (++seen_ != plan.nth && plan.nth != 0) return 0;
    }
    fired_ = call;
    if (plan.delay.count() > 0) std::this_thread::sleep_for(plan.delay);
    return plan.number;
  }
  inline static std::mutex mutex_;  // a thread may still be asking when the hook is gone
  inline static Fault plan_{};
  inline static unsigned seen_ = 0;
  inline static std::atomic<const char*> fired_{""};
};

}  // namespace ftpd::test
