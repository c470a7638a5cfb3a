// Row `memory`: what an idle connection costs the daemon.
#include <fmt/format.h>

#include <fstream>
#include <thread>

#include "load.h"
#include "rows.h"

namespace bench {

namespace {

constexpr double limit = 512;
constexpr int warm_connections = 200;

/// Memory that is the process's own, in bytes: pages written to, by the kernel's count. Buffers in the kernel
/// are not in it, pages that an allocator keeps for later are.
double private_memory(pid_t pid) {
  std::ifstream rollup(fmt::format("/proc/{}/smaps_rollup", pid));
  double kibibytes = 0;
  for (std::string word; rollup >> word;) {
    if (word == "Private_Dirty:" && rollup >> kibibytes) return kibibytes * 1024;
  }
  throw Broken("no Private_Dirty in smaps_rollup");
}

std::ptrdiff_t open_files(pid_t pid) {
  const std::filesystem::directory_iterator files(fmt::format("/proc/{}/fd", pid));
  return std::distance(begin(files), end(files));
}

/// Waits until the daemon holds `count` descriptors, which is when it has accepted what was connected.
void await_open_files(pid_t pid, std::ptrdiff_t count) {
  const auto end = Clock::now() + std::chrono::seconds(20);
  while (open_files(pid) < count) {
    if (Clock::now() > end) throw Broken(fmt::format("{} of {} files open", open_files(pid), count));
    std::this_thread::sleep_for(milliseconds(20));
  }
}

/// The number of open descriptors once it has stayed the same for a while: closed connections are gone.
std::ptrdiff_t settled_open_files(pid_t pid) {
  auto count = open_files(pid);
  for (int same = 0; same < 10;) {
    std::this_thread::sleep_for(milliseconds(10));
    const auto next = open_files(pid);
    same = next == count ? same + 1 : 0;
    count = next;
  }
  return count;
}

void ping_each(const std::vector<UniqueFd>& sockets) {
  for (const auto& socket : sockets) {
    send_all(socket.get(), ping_request());
    read_reply(socket.get());
  }
}

std::vector<UniqueFd> connect_many(std::uint16_t port, int count) {
  std::vector<UniqueFd> sockets;
  for (int i = 0; i < count; ++i) sockets.push_back(connect_loopback(port));
  return sockets;
}

void print_memory(std::string_view what, double each) {
  print({.what = std::string(what),
         .unit = Unit::bytes,
         .peer = "limit",
         .samples = {{.ours = each, .peer = limit}},
         .reach = Reach::at_most,
         .bound = 1.0});
}

}  // namespace

void memory_row(const Settings& settings) {
  // The stand-in has a thread for each connection: fewer of them, only to see this row at work.
  const int count = settings.ftpd.empty() ? warm_connections : settings.scale.idle_connections;
  const Subject subject(settings);
  // What a loop sets up once (lent buffers, first pages of the heap) is not the price of a connection.
  ping_each(connect_many(subject.port(), warm_connections));

  const auto files = settled_open_files(subject.pid());
  const auto before = private_memory(subject.pid());
  const auto sockets = connect_many(subject.port(), count);
  await_open_files(subject.pid(), files + count);
  const auto silent = private_memory(subject.pid());
  ping_each(sockets);
  const auto spoken = private_memory(subject.pid());

  print_memory(fmt::format("memory each, {} silent connections", count), (silent - before) / count);
  print_memory(fmt::format("memory each, {} after a ping", count), (spoken - before) / count);
}

}  // namespace bench
