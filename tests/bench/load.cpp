// The load generators; see load.h.
#include "load.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <latch>
#include <random>

namespace bench {

// --- transfers
// ----------------------------------------------------------------------------------------------

std::span<const char> content() {
  static const std::vector<char> bytes = [] {
    std::vector<char> made(4 << 20);
    std::mt19937_64 random(1);
    for (std::size_t at = 0; at < made.size(); at += 8) {
      const auto word = random();
      std::memcpy(&made[at], &word, sizeof word);
    }
    return made;
  }();
  return bytes;
}

void put(int socket, std::string_view filename, std::uint64_t size, const Progress& progress) {
  put_with(socket, fmt::format(R"({{"cmd":"put","filename":"{}","data_size":{}}})", filename, size), size,
           progress);
}

void put_with(int socket, std::string_view header, std::uint64_t size, const Progress& progress) {
  constexpr std::size_t piece_size = 1 << 20;
  send_all(socket, frame(header));
  for (std::uint64_t sent = 0; sent < size;) {
    const auto piece =
        content().subspan(sent % content().size()).first(std::min<std::uint64_t>(piece_size, size - sent));
    send_all(socket, piece);
    sent += piece.size();
    if (progress) progress(piece.size());
  }
  if (read_reply(socket).data_size != 0) throw Broken("the reply to put has a body");
}

void receive_body(int socket, const Body& body, Verify verify, const Progress& progress) {
  static thread_local std::vector<char> buffer(1 << 18);
  for (std::uint64_t at = 0; at < body.size;) {
    const auto room = std::min<std::uint64_t>(
        {buffer.size(), body.size - at, body.expected.size() - at % body.expected.size()});
    const auto received = check(::recv(socket, buffer.data(), room, 0), "recv");
    if (received == 0) throw Broken(fmt::format("body ends after {} of {} bytes", at, body.size));
    const auto count = static_cast<std::size_t>(received);
    if (verify == Verify::content &&
        std::memcmp(buffer.data(), &body.expected[at % body.expected.size()], count) != 0) {
      throw Broken(fmt::format("wrong bytes near offset {} of a body", at));
    }
    at += count;
    if (progress) progress(count);
  }
}

std::string get_request(std::string_view filename) {
  return frame(fmt::format(R"({{"cmd":"get","filename":"{}"}})", filename));
}

std::string head_request(std::uint64_t size) {
  return frame(fmt::format(R"({{"cmd":"exec","argv":["head","-c","{}","/dev/zero"]}})", size));
}

std::string true_request() { return frame(R"({"cmd":"exec","argv":["/bin/true"]})"); }

std::string ping_request() { return frame(R"({"cmd":"ping"})"); }

double run_at_once(std::uint16_t port, int connections, const std::function<void(int, int)>& job) {
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < connections; ++i) sockets.push_back(connect_loopback(port));
  std::latch begin(connections + 1);
  std::vector<std::future<void>> jobs;
  for (int i = 0; i < connections; ++i) {
    jobs.push_back(std::async(std::launch::async, [&, i] {
      begin.arrive_and_wait();
      job(sockets[static_cast<std::size_t>(i)].get(), i);
    }));
  }
  begin.arrive_and_wait();
  const auto start = Clock::now();
  for (auto& one : jobs) one.wait();
  const double taken = seconds_since(start);
  for (auto& one : jobs) one.get();
  return taken;
}

// --- requests over and over
// ---------------------------------------------------------------------------------

namespace {

/// Expects exactly these bytes, again and again.
Exchange fixed_exchange(std::string request, std::string reply) {
  return {.request = std::move(request), .reply_size = [reply = std::move(reply)](std::string_view bytes) {
            const auto common = std::min(bytes.size(), reply.size());
            if (std::memcmp(bytes.data(), reply.data(), common) != 0) {
              throw Broken(fmt::format("unexpected reply: {}", bytes.substr(0, 200)));
            }
            return common == reply.size() ? common : 0;
          }};
}

/// One connection of the generator.
class Client {
 public:
  Client(std::uint16_t port, const Exchange& exchange, int depth)
      : exchange_(exchange), depth_(depth), socket_(connect_loopback(port)) {
    for (int i = 0; i < depth; ++i) batch_ += exchange.request;
  }

  [[nodiscard]] int fd() const { return socket_.get(); }

  /// A batch is small beside a socket buffer that is empty: it goes out in one piece.
  void send_batch() {
    waiting_ = depth_;
    send_all(socket_.get(), batch_);
  }

  [[nodiscard]] int waiting() const { return waiting_; }

  /// Reads what is there and returns how many replies that completed.
  int advance() {
    const auto received = ::recv(socket_.get(), &buffer_[filled_], buffer_.size() - filled_, MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) return 0;
    if (check(received, "recv") == 0) throw Broken("connection closed while a reply is due");
    filled_ += static_cast<std::size_t>(received);
    const int replies = take_replies();
    waiting_ -= replies;
    if (waiting_ < 0) throw Broken("more replies than requests");
    return replies;
  }

 private:
  int take_replies() {
    std::string_view rest(buffer_.data(), filled_);
    int replies = 0;
    while (!rest.empty()) {
      const auto size = exchange_.reply_size(rest);
      if (size == 0) break;
      rest.remove_prefix(size);
      ++replies;
    }
    std::memmove(buffer_.data(), rest.data(), rest.size());
    filled_ = rest.size();
    return replies;
  }

  const Exchange& exchange_;
  int depth_;
  int waiting_ = 0;
  UniqueFd socket_;
  std::string batch_;
  std::array<char, 16384> buffer_{};
  std::size_t filled_ = 0;
};

}  // namespace

std::string learn_ping_reply(std::uint16_t port) {
  const auto socket = connect_loopback(port);
  send_all(socket.get(), ping_request());
  const auto reply = read_reply(socket.get());
  if (reply.data_size != 0) throw Broken("the reply to ping has a body");
  return frame(reply.header);
}

Exchange ping_exchange(std::uint16_t port) { return fixed_exchange(ping_request(), learn_ping_reply(port)); }

Exchange redis_ping_exchange() { return fixed_exchange("*1\r\n$4\r\nPING\r\n", "+PONG\r\n"); }

Exchange true_exchange() {
  return {.request = true_request(), .reply_size = [](std::string_view bytes) -> std::size_t {
            const auto header = complete_reply(bytes);
            if (header.empty()) return 0;
            if (value_of(header, "reason") != "exited" || value_of(header, "exit") != "0") {
              throw Broken(fmt::format("/bin/true: {}", header));
            }
            return 4 + header.size();
          }};
}

double exchange_rate(std::uint16_t port, const Exchange& exchange, const Load& load) {
  const auto epoll = check_fd(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < load.connections; ++i) {
    clients.push_back(std::make_unique<Client>(port, exchange, load.depth));
    epoll_event event{.events = EPOLLIN, .data = {.ptr = clients.back().get()}};
    check(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, clients.back()->fd(), &event), "epoll_ctl");
  }

  std::uint64_t replies = 0;
  const auto turn = [&](const std::function<void(Client&)>& when_answered) {
    std::array<epoll_event, 64> events{};
    const auto count = check(::epoll_wait(epoll.get(), events.data(), events.size(), 5000), "epoll_wait");
    if (count == 0) throw Broken("no reply within 5 s");
    for (const auto& event : std::span(events).first(static_cast<std::size_t>(count))) {
      auto& client = *static_cast<Client*>(event.data.ptr);
      replies += static_cast<std::uint64_t>(client.advance());
      if (client.waiting() == 0) when_answered(client);
    }
  };

  const auto start = Clock::now();
  for (const auto& client : clients) client->send_batch();
  while (Clock::now() - start < load.window) turn([](Client& client) { client.send_batch(); });
  const double rate = static_cast<double>(replies) / seconds_since(start);
  // What is under way still would run into the measurement that follows.
  int busy = static_cast<int>(
      std::ranges::count_if(clients, [](const auto& client) { return client->waiting() > 0; }));
  while (busy > 0) turn([&](Client&) { --busy; });
  return rate;
}

}  // namespace bench
