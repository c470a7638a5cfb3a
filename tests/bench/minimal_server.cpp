// The minimal server that transfers and command output are measured against; see peers.h.
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "peers.h"
#include "sha256.h"

namespace bench {

namespace {

constexpr std::size_t pipe_size = 1 << 20;
constexpr std::size_t hashed_piece = 1 << 18;
constexpr std::size_t largest_piece = 0x7ffff000;  // sendfile(2), "NOTES"

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  check(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
  Pipe pipe{.read_end = UniqueFd(ends[0]), .write_end = UniqueFd(ends[1])};
  check(::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, pipe_size), "F_SETPIPE_SZ");
  return pipe;
}

void splice_all(int from, int to, std::size_t size) {
  while (size > 0) {
    const auto moved = check(::splice(from, nullptr, to, nullptr, size, SPLICE_F_MOVE), "splice");
    if (moved == 0) throw Broken("splice: end of input");
    size -= static_cast<std::size_t>(moved);
  }
}

/// Header in one segment with the body's beginning (MSG_MORE without a body would delay it), then the file
/// from its start.
void send_file(int socket, int file, std::uint64_t size) {
  const auto header = frame(fmt::format(R"({{"ok":true,"reason":"exited","exit":0,"data_size":{}}})", size));
  check(::send(socket, header.data(), header.size(), MSG_NOSIGNAL | (size > 0 ? MSG_MORE : 0)), "send");
  off_t offset = 0;
  while (static_cast<std::uint64_t>(offset) < size) {
    if (check(::sendfile(socket, file, &offset, largest_piece), "sendfile") == 0) throw Broken("shrunk file");
  }
}

void put(int socket, const std::filesystem::path& path, std::uint64_t size) {
  const auto file =
      check_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), path.string());
  const Pipe pipe = make_pipe();
  while (size > 0) {
    const auto piece = std::min<std::uint64_t>(size, pipe_size);
    const auto taken =
        check(::splice(socket, nullptr, pipe.write_end.get(), nullptr, piece, SPLICE_F_MOVE), "splice");
    if (taken == 0) throw Broken("upload ended early");
    splice_all(pipe.read_end.get(), file.get(), static_cast<std::size_t>(taken));
    size -= static_cast<std::uint64_t>(taken);
  }
  send_all(socket, frame(R"({"ok":true,"data_size":0})"));
}

void write_all(int file, std::span<const char> bytes) {
  while (!bytes.empty()) {
    bytes =
        bytes.subspan(static_cast<std::size_t>(check(::write(file, bytes.data(), bytes.size()), "write")));
  }
}

/// A digest needs the bytes in memory: received, hashed and written in pieces that stay in the cache.
void put_verified(int socket, const std::filesystem::path& path, std::uint64_t size,
                  std::string_view expected) {
  const auto file =
      check_fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), path.string());
  std::vector<char> buffer(hashed_piece);
  Sha256 digest;
  while (size > 0) {
    const auto room = std::min<std::uint64_t>(size, buffer.size());
    const auto received = check(::recv(socket, buffer.data(), room, 0), "recv");
    if (received == 0) throw Broken("upload ended early");
    const auto piece = std::span<const char>(buffer).first(static_cast<std::size_t>(received));
    digest.add(piece);
    write_all(file.get(), piece);
    size -= piece.size();
  }
  if (digest.finish() != expected) throw Broken("checksum mismatch");
  send_all(socket, frame(R"({"ok":true,"data_size":0})"));
}

void get(int socket, const std::filesystem::path& path) {
  const auto file = check_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC), path.string());
  struct stat status{};
  check(::fstat(file.get(), &status), "fstat");
  send_file(socket, file.get(), static_cast<std::uint64_t>(status.st_size));
}

/// The strings of the header's `argv`; no escapes.
std::vector<std::string> argv_of(std::string_view header) {
  std::vector<std::string> argv;
  auto rest = header.substr(header.find(R"("argv":[)") + 8);
  rest = rest.substr(0, rest.find(']'));
  for (auto quote = rest.find('"'); quote != std::string_view::npos; quote = rest.find('"')) {
    rest.remove_prefix(quote + 1);
    argv.emplace_back(rest.substr(0, rest.find('"')));
    rest.remove_prefix(argv.back().size() + 1);
  }
  return argv;
}

pid_t spawn(const std::vector<std::string>& argv, int output) {
  std::vector<char*> pointers;
  for (const auto& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw Broken(fmt::format("posix_spawn: {}", std::strerror(error)));
  return pid;
}

void exec(int socket, std::string_view header) {
  const auto output = check_fd(::memfd_create("output", MFD_CLOEXEC), "memfd_create");
  Pipe pipe = make_pipe();
  const pid_t pid = spawn(argv_of(header), pipe.write_end.get());
  pipe.write_end.reset();
  std::uint64_t size = 0;
  while (const auto moved =
             check(::splice(pipe.read_end.get(), nullptr, output.get(), nullptr, pipe_size, SPLICE_F_MOVE),
                   "splice")) {
    size += static_cast<std::uint64_t>(moved);
  }
  int status = 0;
  check(::waitpid(pid, &status, 0), "waitpid");
  if (status != 0) throw Broken(fmt::format("the command's wait status is {:#x}", status));
  send_file(socket, output.get(), size);
}

void serve_request(int socket, const std::filesystem::path& root, std::string_view header) {
  const auto command = value_of(header, "cmd");
  if (command == "put") {
    const auto path = root / value_of(header, "filename");
    const auto size = number_of(header, "data_size");
    const auto digest = value_of(header, "sha256");
    return digest.empty() ? put(socket, path, size) : put_verified(socket, path, size, digest);
  }
  if (command == "get") return get(socket, root / value_of(header, "filename"));
  if (command == "exec") return exec(socket, header);
  send_all(socket, frame(R"({"ok":true,"data_size":0})"));
}

void serve(const UniqueFd& socket, const std::filesystem::path& root) {
  std::int32_t length = 0;
  while (::recv(socket.get(), &length, sizeof length, MSG_WAITALL) == sizeof length) {
    std::string header(static_cast<std::size_t>(length), '\0');
    receive_all(socket.get(), header);
    serve_request(socket.get(), root, header);
  }
}

/// A client that has what it wanted may close in the middle of anything; that is nobody's mistake.
bool client_is_there(int socket) {
  char byte = 0;
  return ::recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0 || errno == EAGAIN;
}

}  // namespace

Server start_minimal_server(const std::filesystem::path& root) {
  const auto listener = listen_loopback();
  const auto port = port_of(listener.get());
  return {.process = Process::run([&] {
            while (true) {
              auto socket = check_fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept");
              const int on = 1;
              check(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
              std::thread([&root, socket = std::move(socket)] {
                try {
                  serve(socket, root);
                } catch (const Broken& error) {
                  if (client_is_there(socket.get()))
                    fmt::print(stderr, "bench: minimal server: {}\n", error.what());
                }
              }).detach();
            }
          }),
          .port = port};
}

}  // namespace bench
