// The echo server, redis and the bare spawn loop; see peers.h.
#include "peers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <map>
#include <thread>

namespace bench {

namespace {

void watch(int epoll, int fd, std::uint64_t tag) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = tag}};
  check(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

void echo(int listener) {
  const auto epoll = check_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  watch(epoll.get(), listener, static_cast<std::uint64_t>(listener));
  std::map<int, UniqueFd> sockets;
  std::array<epoll_event, 64> events{};
  std::array<char, 4096> buffer{};
  while (true) {
    const auto count = check(::epoll_wait(epoll.get(), events.data(), events.size(), -1), "epoll_wait");
    for (const auto& event : std::span(events).first(static_cast<std::size_t>(count))) {
      const int fd = static_cast<int>(event.data.u64);
      if (fd == listener) {
        auto socket = check_fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept");
        watch(epoll.get(), socket.get(), static_cast<std::uint64_t>(socket.get()));
        sockets.emplace(socket.get(), std::move(socket));
        continue;
      }
      const auto received = ::read(fd, buffer.data(), buffer.size());
      if (received <= 0) {
        sockets.erase(fd);
        continue;
      }
      send_all(fd, std::span(buffer).first(static_cast<std::size_t>(received)));
    }
  }
}

/// Whether a redis on `port` answers a PING.
bool answers(std::uint16_t port) {
  try {
    const auto socket = connect_loopback(port);
    send_all(socket.get(), std::string_view("PING\r\n"));
    std::array<char, 7> reply{};
    receive_all(socket.get(), reply);
    return std::string_view(reply.data(), reply.size()) == "+PONG\r\n";
  } catch (const Broken&) {
    return false;
  }
}

/// The commands of a spawn loop that are under way, a fixed slot for each.
class SpawnLoop {
 public:
  explicit SpawnLoop(int in_flight) : slots_(static_cast<std::size_t>(in_flight)) {}

  double run(milliseconds window) {
    const auto start = Clock::now();
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) begin(slot);
    while (Clock::now() - start < window) turn([this](std::size_t slot) { begin(slot); });
    const double rate = static_cast<double>(completed_) / seconds_since(start);
    // What is under way still would run into the measurement that follows.
    auto busy = slots_.size();
    while (busy > 0) turn([&](std::size_t) { --busy; });
    return rate;
  }

 private:
  struct Command {
    pid_t pid = -1;
    std::array<UniqueFd, 2> pipes;  // standard output and error
  };

  void turn(const std::function<void(std::size_t)>& when_ended) {
    std::array<epoll_event, 64> events{};
    const auto count = check(::epoll_wait(epoll_.get(), events.data(), events.size(), 5000), "epoll_wait");
    if (count == 0) throw Broken("a spawned command does not end");
    for (const auto& event : std::span(events).first(static_cast<std::size_t>(count))) {
      if (read_pipe(event.data.u64)) when_ended(event.data.u64 / 2);
    }
  }

  void begin(std::size_t slot) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    std::array<UniqueFd, 2> child_ends;
    for (std::size_t stream = 0; stream < 2; ++stream) {
      std::array<int, 2> ends{};
      check(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
      slots_[slot].pipes[stream].reset(ends[0]);
      child_ends[stream].reset(ends[1]);
      posix_spawn_file_actions_adddup2(&actions, ends[1], static_cast<int>(stream) + 1);
      watch(epoll_.get(), ends[0], slot * 2 + stream);
    }
    std::array<char*, 2> argv{program_.data(), nullptr};
    const int error =
        ::posix_spawn(&slots_[slot].pid, program_.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw Broken(fmt::format("posix_spawn: {}", std::strerror(error)));
  }

  /// Reads one pipe of a command; true when the command has ended, too.
  bool read_pipe(std::uint64_t tag) {
    auto& command = slots_[tag / 2];
    std::array<char, 4096> buffer{};
    if (check(::read(command.pipes[tag % 2].get(), buffer.data(), buffer.size()), "read") > 0) return false;
    // A command that is being spawned shares the pipe for a moment longer: closing alone would not end the
    // watch.
    check(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, command.pipes[tag % 2].get(), nullptr), "epoll_ctl");
    command.pipes[tag % 2].reset();
    if (command.pipes[1 - tag % 2]) return false;
    int status = 0;
    check(::waitpid(command.pid, &status, 0), "waitpid");
    if (status != 0) throw Broken(fmt::format("wait status {:#x} of /bin/true", status));
    ++completed_;
    return true;
  }

  std::string program_ = "/bin/true";
  UniqueFd epoll_ = check_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  std::vector<Command> slots_;
  std::uint64_t completed_ = 0;
};

}  // namespace

Server start_echo_server() {
  const auto listener = listen_loopback();
  const auto port = port_of(listener.get());
  return {.process = Process::run([&] { echo(listener.get()); }), .port = port};
}

std::optional<Server> start_redis(const std::filesystem::path& directory) {
  if (find_program("redis-server").empty()) return std::nullopt;
  const auto port = port_of(listen_loopback().get());  // free again once this line is over
  auto process = Process::execute({"redis-server", "--bind", "127.0.0.1", "--port", std::to_string(port),
                                   "--save", "", "--appendonly", "no", "--dir", directory.string()},
                                  directory / "redis.log");
  const auto end = Clock::now() + std::chrono::seconds(10);
  while (!answers(port)) {
    if (Clock::now() > end || !process.alive()) throw Broken("redis-server does not answer");
    std::this_thread::sleep_for(milliseconds(20));
  }
  return Server{.process = std::move(process), .port = port};
}

double spawn_rate(int in_flight, milliseconds window) {
  std::array<int, 2> ends{};
  check(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
  const UniqueFd result(ends[0]);
  UniqueFd report(ends[1]);
  auto process = Process::run([&] {
    const double rate = SpawnLoop(in_flight).run(window);
    check(::write(report.get(), &rate, sizeof rate), "write");
  });
  report.reset();
  double rate = 0;
  if (::read(result.get(), &rate, sizeof rate) != sizeof rate) throw Broken("the spawn loop failed");
  process.join(milliseconds(5000));
  return rate;
}

}  // namespace bench
