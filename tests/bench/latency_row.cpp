// Row `latency`: how long a ping takes while the daemon is busy with large transfers.
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <memory>
#include <thread>

#include "load.h"
#include "rows.h"

namespace bench {

namespace {

constexpr int uploads = 8;
constexpr std::uint64_t upload_size = 128 << 20;
constexpr int pings_per_second = 100;
/// Enough to have some on each of the daemon's loops; they take turns.
constexpr int connections = 8;
constexpr double most_seconds = 0.020;

// --- the load
// -----------------------------------------------------------------------------------------------

/// What the load's process has done, in memory that it shares with ours.
struct Progress {
  std::atomic<std::uint64_t> uploaded{0};
  std::atomic<std::uint64_t> output{0};
};

/// Eight uploads and one command's output, each begun again when it is done, in a process of its own.
class HeavyLoad {
 public:
  HeavyLoad(std::uint16_t port, std::uint64_t output_size)
      : progress_(shared_progress()), process_(Process::run([this, port, output_size] {
          run_at_once(port, uploads + 1, [this, output_size](int socket, int index) {
            if (index < uploads) return upload_for_ever(socket, index);
            output_for_ever(socket, output_size);
          });
        })) {}
  HeavyLoad(const HeavyLoad&) = delete;
  HeavyLoad& operator=(const HeavyLoad&) = delete;
  ~HeavyLoad() { ::munmap(progress_, sizeof *progress_); }

  [[nodiscard]] std::uint64_t uploaded() const { return progress_->uploaded; }
  [[nodiscard]] std::uint64_t output() const { return progress_->output; }
  /// Returns once every kind of transfer has got going.
  void await_progress() const {
    const auto end = Clock::now() + std::chrono::seconds(15);
    while (uploaded() == 0 || output() == 0) {
      require_alive();
      if (Clock::now() > end) throw Broken("the load makes no progress");
      std::this_thread::sleep_for(milliseconds(20));
    }
  }

  void require_alive() const {
    if (!process_.alive()) throw Broken("the load ended before the measurement did");
  }

 private:
  static Progress* shared_progress() {
    void* memory =
        ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw Broken("mmap");
    return new (memory) Progress;
  }

  [[noreturn]] void end_on_failure(const Broken& error) const {
    fmt::print(stderr, "bench: load: {}\n", error.what());
    ::_exit(1);
  }

  void upload_for_ever(int socket, int index) try {
    while (true) {
      put(socket, fmt::format("load-{}", index), upload_size,
          [this](std::size_t count) { progress_->uploaded += count; });
    }
  } catch (const Broken& error) {
    end_on_failure(error);
  }

  void output_for_ever(int socket, std::uint64_t size) try {
    const std::vector<char> zeros(1 << 18);
    while (true) {
      send_all(socket, head_request(size));
      if (read_reply(socket).data_size != size) throw Broken("wrong size of command output");
      receive_body(socket, {.size = size, .expected = zeros}, Verify::count,
                   [this](std::size_t count) { progress_->output += count; });
    }
  } catch (const Broken& error) {
    end_on_failure(error);
  }

  Progress* progress_;
  Process process_;
};

// --- the pings
// ----------------------------------------------------------------------------------------------

/// One connection with the send times of what has not been answered.
struct Pinger {
  UniqueFd socket;
  std::string reply;  ///< what must come for each ping
  std::deque<Clock::time_point> sent;
  std::size_t received = 0;  ///< of the oldest reply
  std::vector<double>* latencies;
};

struct Latencies {
  std::vector<double> ours;
  std::vector<double> peer;
};

/// Pings the daemon and the echo server in turn at a fixed rate, whether or not earlier ones were answered:
/// a slow reply does not thin out the pings that would show how slow it is.
class PingClock {
 public:
  PingClock(std::uint16_t ours, const std::string& reply, std::uint16_t peer)
      : epoll_(check_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        timer_(check_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create")) {
    watch(timer_.get(), nullptr);
    for (int i = 0; i < connections; ++i) {
      add(ours, reply, latencies_.ours);
      add(peer, request_, latencies_.peer);
    }
  }

  Latencies run(milliseconds window) {
    latencies_ = {};
    set_timer(1000000000L / (2 * pings_per_second));
    const auto end = Clock::now() + window;
    while (Clock::now() < end) turn();
    set_timer(0);
    const auto last = Clock::now() + std::chrono::seconds(5);
    while (outstanding_ > 0) {
      if (Clock::now() > last) throw Broken(fmt::format("{} pings without a reply", outstanding_));
      turn();
    }
    return latencies_;
  }

 private:
  void watch(int fd, Pinger* pinger) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = pinger}};
    check(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }

  void add(std::uint16_t port, const std::string& reply, std::vector<double>& latencies) {
    pingers_.push_back(std::make_unique<Pinger>(Pinger{.socket = connect_loopback(port),
                                                       .reply = reply,
                                                       .sent = {},
                                                       .received = 0,
                                                       .latencies = &latencies}));
    watch(pingers_.back()->socket.get(), pingers_.back().get());
  }

  void set_timer(long nanoseconds) {
    const itimerspec period{.it_interval = {.tv_sec = 0, .tv_nsec = nanoseconds},
                            .it_value = {.tv_sec = 0, .tv_nsec = nanoseconds}};
    check(::timerfd_settime(timer_.get(), 0, &period, nullptr), "timerfd_settime");
  }

  void turn() {
    std::array<epoll_event, 32> events{};
    const auto count = check(::epoll_wait(epoll_.get(), events.data(), events.size(), 100), "epoll_wait");
    const auto now = Clock::now();
    for (const auto& event : std::span(events).first(static_cast<std::size_t>(count))) {
      if (event.data.ptr == nullptr) {
        send_due();
      } else {
        receive(*static_cast<Pinger*>(event.data.ptr), now);
      }
    }
  }

  void send_due() {
    std::uint64_t due = 0;
    if (::read(timer_.get(), &due, sizeof due) != sizeof due) return;
    for (; due > 0; --due) {
      auto& pinger = *pingers_[next_++ % pingers_.size()];
      pinger.sent.push_back(Clock::now());
      ++outstanding_;
      send_all(pinger.socket.get(), request_);
    }
  }

  void receive(Pinger& pinger, Clock::time_point now) {
    std::array<char, 4096> buffer{};
    const auto count = check(::recv(pinger.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT), "recv");
    if (count == 0) throw Broken("connection closed while a ping is due");
    for (const char byte : std::span(buffer).first(static_cast<std::size_t>(count))) {
      if (pinger.sent.empty()) throw Broken("more replies than pings");
      if (byte != pinger.reply[pinger.received]) throw Broken("a ping got another reply than the first one");
      if (++pinger.received < pinger.reply.size()) continue;
      pinger.received = 0;
      pinger.latencies->push_back(std::chrono::duration<double>(now - pinger.sent.front()).count());
      pinger.sent.pop_front();
      --outstanding_;
    }
  }

  std::string request_ = ping_request();
  UniqueFd epoll_;
  UniqueFd timer_;
  std::vector<std::unique_ptr<Pinger>> pingers_;
  std::size_t next_ = 0;
  int outstanding_ = 0;
  Latencies latencies_;
};

Sample p99(const Latencies& latencies) {
  return {.ours = percentile(latencies.ours, 0.99), .peer = percentile(latencies.peer, 0.99)};
}

void print_latency(std::string_view what, std::string_view peer, std::vector<Sample> samples, double most) {
  print({.what = std::string(what),
         .unit = Unit::seconds,
         .peer = std::string(peer),
         .samples = std::move(samples),
         .reach = most > 0 ? Reach::at_most : Reach::none,
         .bound = most});
}

}  // namespace

void latency_row(const Settings& settings) {
  const auto echo = start_echo_server();
  const Subject subject(settings);
  PingClock pings(subject.port(), learn_ping_reply(subject.port()), echo.port);

  const auto idle = p99(pings.run(settings.scale.load_window));
  print_latency("ping p99, idle", "echo server", {idle}, 0);

  const HeavyLoad load(subject.port(), settings.scale.bytes);
  load.await_progress();
  std::vector<Sample> samples;
  std::vector<Sample> limits;
  const auto start = Clock::now();
  const auto uploaded = load.uploaded();
  for (int round = 0; round < settings.scale.load_rounds; ++round) {
    samples.push_back(p99(pings.run(settings.scale.load_window)));
    limits.push_back({.ours = samples.back().ours, .peer = most_seconds});
    load.require_alive();
  }
  const auto rate = static_cast<double>(load.uploaded() - uploaded) / seconds_since(start);
  if (rate <= 0) throw Broken("the uploads stood still");

  print_latency("ping p99 under load", "echo server", samples, 3.0);
  print_latency("ping p99 under load", "limit", limits, 1.0);
  print_note(fmt::format("the load: {} uploads at {:.2f} GB/s together, {:.2f} GB of command output received",
                         uploads, rate / 1e9, static_cast<double>(load.output()) / 1e9));
}

}  // namespace bench
